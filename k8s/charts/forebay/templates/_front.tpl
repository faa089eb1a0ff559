{{/* Envoy's files, filled, by name. */}}
{{- define "forebay.envoyFiles" -}}
{{- $names := list "envoy" "drain" -}}
{{- if .Values.tls.secret -}}
{{- $names = concat $names (list "tls-own" "tls-ca") -}}
{{- end -}}
{{- range $names -}}
{{ . }}.yaml: |
  {{- tpl ($.Files.Get (printf "files/%s.yaml" .)) $ | trim | nindent 2 }}
{{ end }}
{{- end }}

{{/* The filter's settings: the chart's values, and what they share with the rest. */}}
{{- define "forebay.filter" -}}
{{- $trust := pick .Values.trust "tenancy" "authorization" "cookie" -}}
{{- $gate := merge (dict "cluster" "forebay-gate") (.Values.front.filter.gate | default dict) -}}
{{- $own := dict "service" .Values.service "gate" $gate "backends" (dict "hash" true "retry" true) "refresh" (dict "cluster" "forebay-backend" "grpc_cluster" "forebay-backend-grpc") -}}
{{- with .Values.front.onDemand.models -}}
{{- $_ := set $own.backends "on_demand" (dict $.Values.service .) -}}
{{- end -}}
{{- merge $own $trust .Values.front.filter | toPrettyJson }}
{{- end }}

{{/* What a request that the filter holds may grow to: its largest body, and one read of the connection more. */}}
{{- define "forebay.heldBytes" -}}
{{- add (int64 (.Values.front.filter.max_body_bytes | default 4194304)) 4194304 -}}
{{- end }}

{{/* Seconds without a byte: more than a whole inference after two waits for another's answer. */}}
{{- define "forebay.idleSecs" -}}
{{- include "forebay.idleBeyond" (list . (include "forebay.answerSecs" .)) -}}
{{- end }}

{{/* The same where an answer may take other seconds. Takes [root, seconds]. */}}
{{- define "forebay.idleBeyond" -}}
{{- $join := dig "join" "timeout_ms" 30000 (index . 0).Values.front.filter | int64 -}}
{{- add (index . 1 | int64) (div (mul 2 $join) 1000) 30 -}}
{{- end }}

{{/* The folder of the front's credential. */}}
{{- define "forebay.credentialPath" -}}
{{- eq .Values.secrets.from "agent" | ternary .Values.secrets.agent.path "/etc/forebay/credential" -}}
{{- end }}

{{/* What proves to backend and gate that this proxy may name a tenant. It watches the folder, whose link Kubernetes turns. */}}
{{- define "forebay.envoyProves" -}}
{{- if .Values.front.credential.enabled }}
http_filters:
  - name: envoy.filters.http.credential_injector
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
      overwrite: true
      credential:
        name: envoy.http.injected_credentials.generic
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic
          header: x-forebay-token
          credential:
            name: forebay
            sds_config:
              path_config_source:
                path: {{ include "forebay.credentialPath" . }}/credential.yaml
                watched_directory: { path: {{ include "forebay.credentialPath" . }} }
  - name: envoy.filters.http.upstream_codec
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec
{{- end }}
{{- end }}

{{- define "forebay.envoyListensByTls" -}}
{{- if .Values.tls.secret }}
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    common_tls_context:
      alpn_protocols: [h2, http/1.1]
      tls_certificate_sds_secret_configs:
        - { name: own, sds_config: { path_config_source: { path: /etc/envoy/tls-own.yaml } } }
{{- end }}
{{- end }}

{{/* Takes [root, component, protocol]. */}}
{{- define "forebay.envoySpeaksTls" -}}
{{- $root := index . 0 -}}
{{- include "forebay.envoySpeaksTlsTo" (list $root (printf "%s-%s" (include "forebay.fullname" $root) (index . 1)) (index . 2)) }}
{{- end }}

{{/* Takes [root, name in the certificate, protocol]. */}}
{{- define "forebay.envoySpeaksTlsTo" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if $root.Values.tls.secret }}
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: {{ $name }}
    common_tls_context:
      alpn_protocols: [{{ index . 2 }}]
      combined_validation_context:
        default_validation_context:
          match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: {{ $name }} } }]
        validation_context_sds_secret_config: { name: ca, sds_config: { path_config_source: { path: /etc/envoy/tls-ca.yaml } } }
{{- end }}
{{- end }}

{{/* Volumes of the front that hold secrets: its own credential and nothing of the pool's. */}}
{{- define "forebay.frontVolumes" -}}
{{- if and .Values.front.credential.enabled (eq .Values.secrets.from "kubernetes") }}
- name: credential
  secret:
    secretName: {{ .Values.front.credential.secret }}
    defaultMode: 0440
    items: [{ key: {{ .Values.front.credential.key }}, path: credential.yaml }]
{{- else if and .Values.front.credential.enabled (eq .Values.secrets.from "csi") }}
- name: credential
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes: { secretProviderClass: {{ .Values.secrets.csi.front }} }
{{- end }}
{{- include "forebay.vaultToken" . }}
{{- include "forebay.tlsVolume" . }}
{{- end }}

{{- define "forebay.frontMounts" -}}
{{- if and .Values.front.credential.enabled (ne .Values.secrets.from "agent") }}
- { name: credential, mountPath: /etc/forebay/credential, readOnly: true }
{{- end }}
{{- include "forebay.tlsMount" . }}
{{- end }}
