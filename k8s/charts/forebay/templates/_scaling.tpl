{{/* Does something else than the chart say how many backends there are? Empty for no. */}}
{{- define "forebay.isScaled" -}}
{{- or (ne .Values.scaling.mode "none") (eq .Values.gate.hold.wake "scale") | ternary "yes" "" -}}
{{- end }}

{{/* The Deployment of the backends: ours, or the one that KServe makes. */}}
{{- define "forebay.backendDeployment" -}}
{{- include "forebay.fullname" . }}-{{ eq .Values.scaling.mode "kserve" | ternary "predictor" "backend" -}}
{{- end }}

{{/* The most backends that there may be. */}}
{{- define "forebay.mostBackends" -}}
{{- $mode := .Values.scaling.mode -}}
{{- $fixed := or (eq $mode "none") (and (eq $mode "kserve") (eq .Values.scaling.kserve.class "none")) -}}
{{- $fixed | ternary .Values.backend.replicas .Values.scaling.max -}}
{{- end }}

{{/* Does a ScaledObject of ours scale, which asks the gate? Empty for no. */}}
{{- define "forebay.isScaledByGate" -}}
{{- $external := and (eq .Values.scaling.mode "kserve") (eq .Values.scaling.kserve.class "external") -}}
{{- or (eq .Values.scaling.mode "keda") (and $external .Values.gate.hold.scaler) | ternary "yes" "" -}}
{{- end }}

{{/* Does Kubernetes ask the gate for the figures that an HPA goes by? Empty for no. */}}
{{- define "forebay.givesMetrics" -}}
{{- and (eq .Values.scaling.mode "hpa") (eq .Values.scaling.metrics "gate") | ternary "yes" "" -}}
{{- end }}

{{/* Up at once, as many more as there are: a GPU takes long enough to start. Down one by one, and not for a short lull. */}}
{{- define "forebay.scalingBehaviour" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - { type: Percent, value: 100, periodSeconds: 60 }
    - { type: Pods, value: 2, periodSeconds: 60 }
scaleDown:
  stabilizationWindowSeconds: {{ .Values.scaling.cooldownSecs }}
  policies: [{ type: Pods, value: 1, periodSeconds: 60 }]
{{- end }}

{{/* What waits at the gate and what backends have in progress, of this namespace. */}}
{{- define "forebay.requestsQuery" -}}
sum({__name__=~"forebay_held_requests|forebay_requests_in_progress",namespace={{ .Release.Namespace | quote }}}) or vector(0)
{{- end }}

{{/* Seconds of compute time that a second takes: what was not answered from the cache. */}}
{{- define "forebay.busyQuery" -}}
sum(rate(forebay_computed_us{namespace={{ .Release.Namespace | quote }}}[1m])) / 1e6 or vector(0)
{{- end }}
