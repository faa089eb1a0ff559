{{/* Does something else than the chart say how many backends there are? Empty for no. */}}
{{- define "forebay.isScaled" -}}
{{- or (ne .Values.scaling.mode "none") (eq .Values.gate.hold.wake "scale") | ternary "yes" "" -}}
{{- end }}

{{/* The most backends that there may be. */}}
{{- define "forebay.mostBackends" -}}
{{- eq .Values.scaling.mode "none" | ternary .Values.backend.replicas .Values.scaling.max -}}
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
