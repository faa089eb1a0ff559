{{/* What the gate is told of the backends that it holds requests for. */}}
{{- define "forebay.hold" -}}
{{- if .Values.gate.hold.enabled -}}
{{- $host := printf "%s-backend-headless" (include "forebay.fullname" .) -}}
{{- $flags := dict "hold-for" (printf "%s://%s:8000" (include "forebay.scheme" . | lower) $host) -}}
{{- $flags = merge $flags (dict "hold-service" .Values.service "hold-timeout-secs" .Values.gate.hold.timeoutSecs) -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $flags "hold-ca-file" "/etc/forebay/tls/ca.crt" -}}
{{- $_ := set $flags "hold-for-name" (printf "%s-backend" (include "forebay.fullname" .)) -}}
{{- end -}}
{{- if .Values.gate.hold.scaler -}}
{{- $_ := set $flags "scaler-port" 8015 -}}
{{- end -}}
{{- if include "forebay.givesMetrics" . -}}
{{- $_ := set $flags "external-metrics-port" 8016 -}}
{{- end -}}
{{- include "forebay.flags" $flags }}
{{- if include "forebay.givesMetrics" . }}
- { name: FOREBAY_EXTERNAL_METRICS_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
{{- end }}
{{- if eq .Values.gate.hold.wake "scale" }}
- { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
- name: FOREBAY_HOLD_WAKE_SCALE
  value: https://kubernetes.default.svc/apis/apps/v1/namespaces/$(POD_NAMESPACE)/deployments/{{ include "forebay.backendDeployment" . }}/scale
{{- end }}
{{- end -}}
{{- end }}

{{/* Does the gate ask Kubernetes' API: to wake a backend, or who may ask it for metrics? Empty for no. */}}
{{- define "forebay.asksKubernetes" -}}
{{- or (eq .Values.gate.hold.wake "scale") (include "forebay.givesMetrics" . | eq "yes") | ternary "yes" "" -}}
{{- end }}

{{/* What proves to Kubernetes that it is the gate that asks: for an hour, and renewed before. Nothing else in the pod has it. */}}
{{- define "forebay.kubernetesVolume" -}}
{{- if include "forebay.asksKubernetes" . }}
- name: kubernetes
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3600 }
      - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
{{- end }}
{{- end }}

{{- define "forebay.kubernetesMount" -}}
{{- if include "forebay.asksKubernetes" . }}
- { name: kubernetes, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
{{- end }}
{{- end }}

{{/* The gate's place in a cluster of backends: asked while none is ready. Takes [root, port]. */}}
{{- define "forebay.envoyHolds" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.gate.hold.enabled }}
- priority: 1
  lb_endpoints:
    - endpoint: { address: { socket_address: { address: {{ include "forebay.fullname" $root }}-gate, port_value: {{ index . 1 }} } } }
{{- end }}
{{- end }}

{{/* Seconds that the front waits for an answer: of a backend, or of one that has to come up first. */}}
{{- define "forebay.answerSecs" -}}
{{- $hold := .Values.gate.hold.enabled | ternary .Values.gate.hold.timeoutSecs 0 | int64 -}}
{{- add .Values.front.timeoutSecs $hold -}}
{{- end }}
