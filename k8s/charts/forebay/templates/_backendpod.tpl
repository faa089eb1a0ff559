{{/* What is in a backend's pod, whoever makes it. Takes [root, the container's name]. */}}
{{- define "forebay.backendPod" -}}
{{- $container := index . 1 -}}
{{- with index . 0 -}}
{{- $backend := .Values.backend -}}
{{- $gpu := $backend.gpu -}}
{{- $files := dict "Values" .Values "isBackend" true -}}
{{ include "forebay.pod" (list . "backend" $backend) }}
# The whole end of a server, drain included, and ten seconds more: it is never killed on its way.
terminationGracePeriodSeconds: {{ add (index $backend.settings "exit-timeout-secs") 10 }}
{{- with $gpu.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- $nodes := $backend.nodeSelector }}
{{- $taints := $backend.tolerations }}
{{- if $gpu.count }}
{{- $taints = append $taints (dict "key" $gpu.resource "operator" "Exists" "effect" "NoSchedule") }}
{{- with $gpu.kind }}
{{- $nodes = merge (dict "nvidia.com/gpu.product" .) $nodes }}
{{- end }}
{{- end }}
{{- with $nodes }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "forebay.tolerations" (list . $taints) | nindent 0 }}
{{- with include "forebay.modelsInit" . }}{{ trim . | nindent 0 }}{{ end }}
containers:
  - name: {{ $container }}
    image: {{ include "forebay.image" (list . $backend.image) }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    {{- include "forebay.container" . | nindent 4 }}
    {{- if $backend.upstream.url }}
    command: [/usr/bin/forebay, front]
    {{- end }}
    env:
      {{- if not $backend.upstream.url }}
      # Off before its library is loaded: it would ask for a name of its maker's.
      - { name: ORT_DISABLE_TELEMETRY, value: "1" }
      {{- end }}
      {{- include "forebay.backendFlags" . | nindent 6 }}
    ports:
      - { name: http, containerPort: 8000 }
      - { name: grpc, containerPort: 8001 }
      - { name: metrics, containerPort: 8002 }
    # Ready once all models are loaded; nothing else is asked of it before.
    startupProbe:
      httpGet: { path: /v2/health/ready, port: http, scheme: {{ include "forebay.scheme" . }} }
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: {{ div (add $backend.startupSecs 1) 2 }}
    readinessProbe:
      httpGet: { path: /v2/health/ready, port: http, scheme: {{ include "forebay.scheme" . }} }
      periodSeconds: 2
      timeoutSeconds: 2
    livenessProbe:
      httpGet: { path: /v2/health/live, port: http, scheme: {{ include "forebay.scheme" . }} }
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    resources: {{- include "forebay.backendResources" . | nindent 6 }}
    volumeMounts:
      - { name: tmp, mountPath: /tmp }
      {{- with include "forebay.modelsMount" . }}{{ trim . | nindent 6 }}{{ end }}
      {{- if $backend.engines.claim }}
      - { name: engines, mountPath: /engines, subPath: {{ $backend.engines.subPath }} }
      {{- end }}
      {{- with include "forebay.recordMount" . }}{{ trim . | nindent 6 }}{{ end }}
      {{- with include "forebay.secretMounts" $files }}{{ trim . | nindent 6 }}{{ end }}
volumes:
  - name: tmp
    emptyDir: { sizeLimit: {{ $backend.tmpSize }} }
  {{- with include "forebay.modelsVolume" . }}{{ trim . | nindent 2 }}{{ end }}
  {{- with $backend.engines.claim }}
  - name: engines
    persistentVolumeClaim: { claimName: {{ . }} }
  {{- end }}
  {{- with include "forebay.recordVolume" . }}{{ trim . | nindent 2 }}{{ end }}
  {{- with include "forebay.secretVolumes" $files }}{{ trim . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}
