{{/* `forebay` for a release of that name, else `RELEASE-forebay`, as charts have it. */}}
{{- define "forebay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "forebay.fullname" -}}
{{- $name := include "forebay.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- end }}

{{/* What selectors compare: it must never change while a release lives. Takes [root, component], as all below. */}}
{{- define "forebay.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "forebay.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "forebay.labels" -}}
{{- $root := index . 0 -}}
{{ include "forebay.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: forebay
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
environment: {{ $root.Values.environment }}
{{- end }}

{{- define "forebay.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "forebay.fullname" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels: {{- include "forebay.labels" . | nindent 2 }}
{{- end }}

{{/* Takes [root, image]. What begins with a host names its own registry; a digest decides, the tag is for people then. */}}
{{- define "forebay.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if not (regexMatch "^([^/]*[.:][^/]*|localhost)/" $image.repository) -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end -}}
{{- end -}}
{{ $image.repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end }}
