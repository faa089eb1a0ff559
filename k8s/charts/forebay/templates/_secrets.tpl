{{/* The folder of the secret files, whoever brings them; their names in it are always the same. */}}
{{- define "forebay.secretsPath" -}}
{{- eq .Values.secrets.from "agent" | ternary .Values.secrets.agent.path "/etc/forebay/secrets" -}}
{{- end }}

{{/* Which of them backend and gate want, as items of a projected volume; what the backend alone wants with `isBackend` beside `Values`. */}}
{{- define "forebay.secretItems" -}}
{{- $secrets := .Values.secrets -}}
{{- if include "forebay.isShared" . }}
- secret: { name: {{ $secrets.poolSecret.secret }}, items: [{ key: {{ $secrets.poolSecret.key }}, path: pool-secret }] }
{{- end }}
{{- if $secrets.poolPassword.enabled }}
- secret: { name: {{ $secrets.poolPassword.secret }}, items: [{ key: {{ $secrets.poolPassword.key }}, path: pool-password }] }
{{- end }}
{{- if $secrets.poolCa.enabled }}
- secret: { name: {{ $secrets.poolCa.secret }}, items: [{ key: {{ $secrets.poolCa.key }}, path: pool-ca.crt }] }
{{- end }}
{{- if $secrets.credentials.enabled }}
- secret: { name: {{ $secrets.credentials.secret }}, items: [{ key: {{ $secrets.credentials.key }}, path: credentials.json }] }
{{- end }}
{{- /* Where the gate is: in the backend while the pool is. */}}
{{- if and $secrets.operators.enabled (ne (not .isBackend) (empty (include "forebay.isShared" .))) }}
- secret: { name: {{ $secrets.operators.secret }}, items: [{ key: {{ $secrets.operators.key }}, path: operators }] }
{{- end }}
{{- if and .isBackend $secrets.recordKey.enabled }}
- secret: { name: {{ $secrets.recordKey.secret }}, items: [{ key: {{ $secrets.recordKey.key }}, path: record-key }] }
{{- end }}
{{- end }}

{{/* Volumes of backend and gate that hold secrets. */}}
{{- define "forebay.secretVolumes" -}}
{{- $items := include "forebay.secretItems" . -}}
{{- if and $items (eq .Values.secrets.from "kubernetes") }}
- name: secrets
  projected:
    defaultMode: 0440
    sources: {{- trim $items | nindent 6 }}
{{- else if and $items (eq .Values.secrets.from "csi") }}
- name: secrets
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes: { secretProviderClass: {{ .Values.secrets.csi.backend }} }
{{- end }}
{{- include "forebay.vaultToken" . }}
{{- include "forebay.tlsVolume" . }}
{{- end }}

{{- define "forebay.secretMounts" -}}
{{- if and (include "forebay.secretItems" .) (ne .Values.secrets.from "agent") }}
- { name: secrets, mountPath: /etc/forebay/secrets, readOnly: true }
{{- end }}
{{- include "forebay.tlsMount" . }}
{{- end }}

{{- define "forebay.tlsVolume" -}}
{{- with .Values.tls.secret }}
- name: tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- end }}

{{- define "forebay.tlsMount" -}}
{{- if .Values.tls.secret }}
- { name: tls, mountPath: /etc/forebay/tls, readOnly: true }
{{- end }}
{{- end }}

{{/* Who its pod is, to Vault alone: no container mounts it, the injector gives it to the agent. */}}
{{- define "forebay.vaultToken" -}}
{{- if eq .Values.secrets.from "agent" }}
- name: vault-token
  projected:
    defaultMode: 0440
    sources: [{ serviceAccountToken: { audience: vault, expirationSeconds: 3600, path: token } }]
{{- end }}
{{- end }}
