{{/* The backend's variables. */}}
{{- define "forebay.backendFlags" -}}
{{- $values := .Values -}}
{{- $flags := dict "service" $values.service "authorization" $values.trust.authorization "cookie" $values.trust.cookie -}}
{{- $flags = merge $flags $values.backend.settings (include "forebay.upstreamFlags" . | fromYaml) -}}
{{- if $values.backend.engines.claim -}}
{{- $_ := set $flags "optimized-model-dir" "/engines" -}}
{{- end -}}
{{- with $values.backend.record.models -}}
{{- $_ := set $flags "record" (join "," .) -}}
{{- $_ := set $flags "record-dir" "/records" -}}
{{- $_ := set $flags "record-key-file" (printf "%s/record-key" (include "forebay.secretsPath" $)) -}}
{{- end -}}
{{- if and $values.secrets.operators.enabled (not (include "forebay.isShared" .)) -}}
{{- $_ := set $flags "operators-file" (printf "%s/operators" (include "forebay.secretsPath" .)) -}}
{{- end -}}
{{- include "forebay.shared" . | trim }}
{{ include "forebay.flags" $flags | trim }}
{{- with $values.backend.restricted.secret }}
- name: FOREBAY_HTTP_RESTRICTED_API
  valueFrom: { secretKeyRef: { name: {{ . }}, key: http, optional: true } }
- name: FOREBAY_GRPC_RESTRICTED_PROTOCOL
  valueFrom: { secretKeyRef: { name: {{ . }}, key: grpc, optional: true } }
{{- end }}
{{- end }}

{{/* What it serves, or what it stands before. */}}
{{- define "forebay.upstreamFlags" -}}
{{- $upstream := .Values.backend.upstream -}}
{{- $flags := dict -}}
{{- if not $upstream.url -}}
{{- $_ := set $flags "model-repository" .Values.models.path -}}
{{- else -}}
{{- $_ := set $flags "to" $upstream.url -}}
{{- with $upstream.grpcUrl -}}{{- $_ := set $flags "to-grpc" . -}}{{- end -}}
{{- $kept := list -}}
{{- range $model, $seconds := $upstream.cacheModels -}}
{{- $kept = append $kept (printf "%s=%d" $model (int64 $seconds)) -}}
{{- end -}}
{{- with $kept -}}{{- $_ := set $flags "cache-model" (join "," .) -}}{{- end -}}
{{- if $upstream.generation -}}
{{- $_ := set $flags "generation" $upstream.generation -}}
{{- else if ne .Values.models.from "image" -}}
{{- $_ := set $flags "model-repository" .Values.models.path -}}
{{- end -}}
{{- end -}}
{{- toYaml $flags -}}
{{- end }}

{{/* Its resources, GPUs among them. */}}
{{- define "forebay.backendResources" -}}
{{- $resources := deepCopy .Values.backend.resources -}}
{{- with .Values.backend.gpu -}}
{{- if .count -}}
{{- $_ := set $resources "limits" (merge (dict .resource .count) ($resources.limits | default dict)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources }}
{{- end }}

{{/* How the repository comes into the container, by `models.from`. */}}
{{- define "forebay.modelsInit" -}}
{{- if eq .Values.models.from "init" -}}
initContainers:
  - name: models
    image: {{ .Values.models.init.image }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: {{- toYaml .Values.models.init.command | nindent 6 }}
    {{- include "forebay.container" . | nindent 4 }}
    resources:
      requests: { cpu: 100m, memory: 64Mi }
      limits: { memory: 256Mi }
    volumeMounts:
      - { name: models, mountPath: {{ .Values.models.path }} }
{{- end }}
{{- end }}

{{- define "forebay.modelsVolume" -}}
{{- with .Values.models -}}
{{- if eq .from "pvc" }}
- name: models
  persistentVolumeClaim: { claimName: {{ .pvc.claim }} }
{{- else if eq .from "oci" }}
- name: models
  image: { reference: {{ .oci.reference }}, pullPolicy: {{ $.Values.image.pullPolicy }} }
{{- else if eq .from "init" }}
- name: models
  emptyDir: { sizeLimit: {{ .init.sizeLimit }} }
{{- end }}
{{- end }}
{{- end }}

{{- define "forebay.modelsMount" -}}
{{- with .Values.models -}}
{{- if ne .from "image" }}
- name: models
  mountPath: {{ .path }}
  readOnly: true
  {{- with dict "pvc" .pvc.subPath "oci" .oci.subPath | dig .from "" }}
  subPath: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where records are kept. */}}
{{- define "forebay.recordVolume" -}}
{{- with .Values.backend.record -}}
{{- if and .models .claim }}
- name: records
  persistentVolumeClaim: { claimName: {{ .claim }} }
{{- else if .models }}
- name: records
  emptyDir: { sizeLimit: {{ .sizeLimit }} }
{{- end }}
{{- end }}
{{- end }}

{{- define "forebay.recordMount" -}}
{{- with .Values.backend.record -}}
{{- if and .models .claim }}
- { name: records, mountPath: /records, subPath: {{ .subPath }} }
{{- else if .models }}
- { name: records, mountPath: /records }
{{- end }}
{{- end }}
{{- end }}
