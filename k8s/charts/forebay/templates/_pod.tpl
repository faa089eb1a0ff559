{{/* Labels and annotations of a component's pods. Takes [root, component, values]. */}}
{{- define "forebay.podLabels" -}}
{{ include "forebay.labels" . }}
{{- with (index . 2).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What every pod has: pod security `restricted`, no token, nobody else's variables. Takes [root, component, values]. */}}
{{- define "forebay.restricted" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ include "forebay.fullname" $root }}-{{ index . 1 }}
automountServiceAccountToken: false # nothing here asks Kubernetes anything
enableServiceLinks: false # a Service's variables are no settings
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with (index . 2).priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* The same of pods that serve beside each other, spread over zones and nodes. */}}
{{- define "forebay.pod" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{ include "forebay.restricted" . }}
affinity:
  podAntiAffinity: # zones by a wish: where nodes have no zone, a spread over zones would be void, and that over nodes with it
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector:
            matchLabels: {{- include "forebay.selector" (list $root $component) | nindent 14 }}
topologySpreadConstraints: # of this version's pods alone: old ones go anyway
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "forebay.selector" (list $root $component) | nindent 8 }}
{{- end }}

{{/* Tolerations: a lost node's pods are made elsewhere soon. Takes [root, list of more]. */}}
{{- define "forebay.tolerations" -}}
tolerations:
  {{- range list "not-ready" "unreachable" }}
  - { key: node.kubernetes.io/{{ . }}, operator: Exists, effect: NoExecute, tolerationSeconds: {{ (index $ 0).Values.nodeLostSecs }} }
  {{- end }}
  {{- with index . 1 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What every container has. */}}
{{- define "forebay.container" -}}
terminationMessagePolicy: FallbackToLogsOnError # why it ended is its last line
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}
