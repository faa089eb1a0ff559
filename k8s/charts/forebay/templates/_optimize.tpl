{{/* Where the data of the Job that makes a model lighter lie in its container: records, or a volume of their own. */}}
{{- define "forebay.optimizeData" -}}
{{- with .Values.optimize.data -}}
{{- if .claim -}}
/data{{ with .path }}/{{ . }}{{ end }}
{{- else -}}
/records
{{- end -}}
{{- end -}}
{{- end }}

{{/* Its arguments, sorted by name: a flag that is true has no value. */}}
{{- define "forebay.optimizeArgs" -}}
{{- $optimize := .Values.optimize -}}
- {{ printf "%s/%s" .Values.models.path $optimize.model | quote }}
- {{ printf "--data=%s" (include "forebay.optimizeData" .) | quote }}
{{- if not $optimize.data.claim }}
- --data-key-file={{ include "forebay.secretsPath" . }}/record-key
{{- end }}
- --time={{ $optimize.timeSecs }}s
{{- range $flag, $value := $optimize.settings }}
{{- if kindIs "bool" $value }}
{{- if $value }}
- --{{ $flag }}
{{- end }}
{{- else }}
- {{ printf "--%s=%v" $flag $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "forebay.optimizeVolumes" -}}
- name: work
  emptyDir: { sizeLimit: {{ .Values.optimize.workSize }} }
- name: models
  persistentVolumeClaim: { claimName: {{ .Values.models.pvc.claim }} }
{{- with .Values.optimize.data.claim }}
- name: data
  persistentVolumeClaim: { claimName: {{ . }}, readOnly: true }
{{- else }}
- name: records
  persistentVolumeClaim: { claimName: {{ .Values.backend.record.claim }}, readOnly: true }
{{- if eq .Values.secrets.from "kubernetes" }}
- name: record-key
  secret:
    secretName: {{ .Values.secrets.recordKey.secret }}
    defaultMode: 0440
    items: [{ key: {{ .Values.secrets.recordKey.key }}, path: record-key }]
{{- else if eq .Values.secrets.from "csi" }}
- name: record-key
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes: { secretProviderClass: {{ .Values.secrets.csi.backend }} }
{{- end }}
{{- include "forebay.vaultToken" . }}
{{- end }}
{{- end }}

{{- define "forebay.optimizeMounts" -}}
- { name: work, mountPath: /work }
- name: models
  mountPath: {{ .Values.models.path }}
  {{- with .Values.models.pvc.subPath }}
  subPath: {{ . }}
  {{- end }}
{{- with .Values.optimize.data }}
{{- if .claim }}
- name: data
  mountPath: /data
  readOnly: true
  {{- with .subPath }}
  subPath: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- if not .Values.optimize.data.claim }}
- { name: records, mountPath: /records, subPath: {{ .Values.backend.record.subPath }}, readOnly: true }
{{- if ne .Values.secrets.from "agent" }}
- { name: record-key, mountPath: {{ include "forebay.secretsPath" . }}, readOnly: true }
{{- end }}
{{- end }}
{{- end }}
