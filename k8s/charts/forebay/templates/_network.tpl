{{/* Peers of a policy: this release's components. Takes [root, component...]. */}}
{{- define "forebay.peers" -}}
{{- $root := index . 0 -}}
{{- range rest . }}
- podSelector:
    matchLabels: {{- include "forebay.selector" (list $root .) | nindent 6 }}
{{- end }}
{{- end }}

{{/* Ways out that everything has: names. */}}
{{- define "forebay.egressDns" -}}
- ports: [{ port: 53, protocol: UDP }, { port: 53, protocol: TCP }]
{{- end }}

{{/* The way to the pool: the Redis inside by its label, others by their ports, for nobody knows their addresses here. Of what sentinels name
     the port is Redis' own, and so is that of replicas that are named by themselves. */}}
{{- define "forebay.egressPool" -}}
{{- if .Values.redis.enabled }}
- to: {{- include "forebay.peers" (list . "redis") | trim | nindent 4 }}
  ports: [{ port: redis }]
{{- else if .Values.pool.urlFrom.secret }}
- {} # the URL is secret, and so is its port
{{- else if include "forebay.isShared" . }}
{{- $default := eq .Values.pool.kind "redis" | ternary "6379" "11211" }}
{{- $hosts := regexReplaceAll "^[a-z+]+://([^@]*@)?|/.*$" .Values.pool.url "" | splitList "," }}
{{- $ports := list }}
{{- if contains "+sentinel:" .Values.pool.url }}
{{- $ports = append $ports $default }}
{{- $default = "26379" }}
{{- end }}
{{- range $hosts }}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default $default) }}
{{- end }}
{{- $from := index .Values.pool.settings "redis-read-from" | default "master" }}
{{- if and (eq .Values.pool.kind "redis") (not (has $from (list "master" "replicas"))) }}
{{- range splitList "," $from }}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default "6379") }}
{{- end }}
{{- end }}
- ports:
    {{- range $ports | uniq }}
    - { port: {{ . }} }
    {{- end }}
{{- end }}
{{- end }}

{{/* The way to the server that computes, by HTTP and gRPC. */}}
{{- define "forebay.egressUpstream" -}}
{{- with .Values.backend.upstream }}
{{- if .url }}
{{- $http := get (urlParse .url) "host" | regexFind ":[0-9]+$" | trimPrefix ":" | default (hasPrefix "https" .url | ternary "443" "80") }}
{{- $grpc := .grpcUrl | empty | ternary "8001" (get (urlParse .grpcUrl) "host" | regexFind ":[0-9]+$" | trimPrefix ":" | default "8001") }}
- ports:
    {{- range list $http $grpc | uniq }}
    - { port: {{ . }} }
    {{- end }}
  {{- with .peers }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The way to the collector of traces. */}}
{{- define "forebay.egressTraces" -}}
{{- with .Values.monitoring.traces.url }}
{{- $default := hasPrefix "https" . | ternary "443" "80" }}
- ports: [{ port: {{ get (urlParse .) "host" | regexFind ":[0-9]+$" | trimPrefix ":" | default $default }} }]
{{- end }}
{{- end }}

{{/* The way of the agent that brings secrets. */}}
{{- define "forebay.egressVault" -}}
{{- if eq .Values.secrets.from "agent" }}
- ports: [{ port: 8200 }]
  {{- with .Values.secrets.agent.vault }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
