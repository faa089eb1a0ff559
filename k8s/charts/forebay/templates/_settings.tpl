{{/* One variable of the environment. Takes [name, value]; numbers are written whole, never as 1e+09. */}}
{{- define "forebay.variable" -}}
{{- $value := index . 1 -}}
- name: {{ index . 0 }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}

{{/* Flags as `FOREBAY_` variables, sorted by name. Takes a map from flags to values. */}}
{{- define "forebay.flags" -}}
{{- range $flag, $value := . }}
{{ include "forebay.variable" (list (printf "FOREBAY_%s" ($flag | upper | replace "-" "_")) $value) }}
{{- end }}
{{- end }}

{{/* Where gates keep traces of keys. */}}
{{- define "forebay.keyTraceVolume" -}}
{{- with .Values.gate.keyTraces -}}
{{- if and .enabled .claim }}
- name: key-traces
  persistentVolumeClaim: { claimName: {{ .claim }} }
{{- else if .enabled }}
- name: key-traces
  emptyDir: { sizeLimit: {{ .sizeLimit }} }
{{- end }}
{{- end }}
{{- end }}

{{- define "forebay.keyTraceMount" -}}
{{- with .Values.gate.keyTraces -}}
{{- if and .enabled .claim }}
- { name: key-traces, mountPath: /key-traces, subPath: {{ .subPath }} }
{{- else if .enabled }}
- { name: key-traces, mountPath: /key-traces }
{{- end }}
{{- end }}
{{- end }}

{{/* What backend and gate must be told alike: pool, trust, TLS. */}}
{{- define "forebay.shared" -}}
{{- $values := .Values -}}
{{- $files := include "forebay.secretsPath" . -}}
{{- $flags := dict "pool" $values.pool.kind "tenancy" $values.trust.tenancy -}}
{{- $flags = merge $flags $values.pool.settings -}}
{{- if include "forebay.isShared" . -}}
{{- $_ := set $flags "pool-secret-file" (printf "%s/pool-secret" $files) -}}
{{- if not $values.pool.urlFrom.secret -}}
{{- $_ := set $flags (printf "%s-url" $values.pool.kind) (include "forebay.poolUrl" .) -}}
{{- end -}}
{{- if $values.secrets.poolPassword.enabled -}}
{{- $_ := set $flags (printf "%s-password-file" $values.pool.kind) (printf "%s/pool-password" $files) -}}
{{- end -}}
{{- if $values.secrets.poolCa.enabled -}}
{{- $_ := set $flags (printf "%s-ca-file" $values.pool.kind) (printf "%s/pool-ca.crt" $files) -}}
{{- end -}}
{{- end -}}
{{- if $values.secrets.credentials.enabled -}}
{{- $_ := set $flags "credentials-file" (printf "%s/credentials.json" $files) -}}
{{- end -}}
{{- with $values.trust.trustedProxies -}}
{{- $_ := set $flags "trusted-proxies" . -}}
{{- end -}}
{{- if $values.tls.secret -}}
{{- $_ := set $flags "tls-cert-file" "/etc/forebay/tls/tls.crt" -}}
{{- $_ := set $flags "tls-key-file" "/etc/forebay/tls/tls.key" -}}
{{- end -}}
{{- with $values.monitoring.traces -}}
{{- if .url -}}
{{- $lines := list "mode=opentelemetry" "level=TIMESTAMPS" (printf "rate=%d" (int64 .rate)) (printf "opentelemetry,url=%s" .url) -}}
{{- $_ := set $flags "trace-config" (join "\n" $lines) -}}
{{- end -}}
{{- end -}}
{{- include "forebay.flags" $flags }}
{{- if and (include "forebay.isShared" .) $values.pool.urlFrom.secret }}
- name: FOREBAY_{{ $values.pool.kind | upper }}_URL
  valueFrom: { secretKeyRef: { name: {{ $values.pool.urlFrom.secret }}, key: {{ $values.pool.urlFrom.key }} } }
{{- end }}
{{- end }}

{{/* Do backend and gate share the pool? Empty for no. */}}
{{- define "forebay.isShared" -}}
{{- has .Values.pool.kind (list "redis" "memcached") | ternary "yes" "" -}}
{{- end }}

{{- define "forebay.poolUrl" -}}
{{- .Values.redis.enabled | ternary (printf "redis://%s-redis:6379/0" (include "forebay.fullname" .)) .Values.pool.url -}}
{{- end }}

{{/* HTTP or HTTPS, as probes name it. */}}
{{- define "forebay.scheme" -}}
{{- empty .Values.tls.secret | ternary "HTTP" "HTTPS" -}}
{{- end }}
