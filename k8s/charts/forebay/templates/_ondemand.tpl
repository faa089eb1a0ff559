{{/* What the objects of the release begin with that has the backends of on-demand models. */}}
{{- define "forebay.onDemandName" -}}
{{- $release := .Values.front.onDemand.release -}}
{{- $name := include "forebay.name" . -}}
{{- contains $name $release | ternary $release (printf "%s-%s" $release $name) | trunc 45 | trimSuffix "-" -}}
{{- end }}

{{- define "forebay.onDemandSecs" -}}
{{- add .Values.front.timeoutSecs .Values.front.onDemand.holdSecs -}}
{{- end }}

{{/* Peers of a policy: that release's components. Takes [root, component...]. */}}
{{- define "forebay.onDemandPeers" -}}
{{- $root := index . 0 -}}
{{- range rest . }}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ include "forebay.name" $root }}
      app.kubernetes.io/instance: {{ $root.Values.front.onDemand.release }}
      app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* Ways of what the filter marks, before all others. */}}
{{- define "forebay.envoyOnDemand" -}}
{{- if .Values.front.onDemand.models }}
# Models with backends of their own, which the filter names by a header that no client can set.
- name: infer-on-demand
  match:
    safe_regex: { regex: '/v2/models/[^/]+(/versions/[^/]+)?/infer|/v1/models/[^/]+:predict' }
    headers: &on_demand [{ name: x-forebay-backends, string_match: { exact: on-demand } }]
  request_body_buffer_limit: {{ include "forebay.heldBytes" . }}
  route:
    cluster: forebay-on-demand
    timeout: {{ include "forebay.onDemandSecs" . }}s # one that comes up, and the inference after it
    idle_timeout: {{ include "forebay.idleBeyond" (list . (include "forebay.onDemandSecs" .)) }}s
    retry_policy: { retry_on: 'connect-failure,refused-stream,reset-before-request', num_retries: 2 }
    hash_policy: &model [{ header: { header_name: x-forebay-hash } }]
- name: describe-on-demand
  match: { safe_regex: { regex: '/v2/models/[^/]+(/versions/[^/]+)?(/ready)?|/v1/models/[^/:]+' }, headers: *on_demand }
  route: { cluster: forebay-on-demand, timeout: 5s, hash_policy: *model }
- name: grpc-on-demand
  match: { safe_regex: { regex: '/inference.GRPCInferenceService/Model(Infer|Ready|Metadata)' }, grpc: {}, headers: *on_demand }
  request_body_buffer_limit: {{ include "forebay.heldBytes" . }}
  route:
    cluster: forebay-on-demand-grpc
    timeout: {{ include "forebay.onDemandSecs" . }}s
    idle_timeout: {{ include "forebay.idleBeyond" (list . (include "forebay.onDemandSecs" .)) }}s
    retry_policy: { retry_on: 'connect-failure,refused-stream,reset-before-request', num_retries: 3 }
    hash_policy: *model
- name: grpc-stream-on-demand
  match: { path: /inference.GRPCInferenceService/ModelStreamInfer, grpc: {}, headers: *on_demand }
  route: { cluster: forebay-on-demand-grpc, timeout: 0s, idle_timeout: 3600s, hash_policy: *model }
{{- end }}
{{- end }}

{{/* Whose a model is that somebody asks about, the filter says. */}}
{{- define "forebay.envoyDescribesByFilter" -}}
{{- if .Values.front.onDemand.models }}
- { name: describe, match: { safe_regex: { regex: '/v2/models/[^/]+(/versions/[^/]+)?(/ready)?|/v1/models/[^/:]+' } }, route: *describe }
{{- end }}
{{- end }}

{{/* Backends of on-demand models, and the gate that stands in for them. */}}
{{- define "forebay.envoyOnDemandClusters" -}}
{{- if .Values.front.onDemand.models }}
{{- range $port, $cluster := dict "8000" "forebay-on-demand" "8001" "forebay-on-demand-grpc" }}
{{- $grpc := eq $port "8001" }}
- name: {{ $cluster }}
  cluster_type:
    name: envoy.cluster.dns
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
      dns_refresh_rate: 1s
      dns_lookup_family: V4_PREFERRED
  connect_timeout: 0.5s
  upstream_connection_options: *heard
  upstream_bind_config: *acknowledged
  per_connection_buffer_limit_bytes: 8388608
  lb_policy: RING_HASH # all requests of a model meet at one backend, which has it loaded
  common_lb_config: { healthy_panic_threshold: { value: 0 } }
  health_checks:
    - timeout: 2s # longer than a new Envoy takes to compile the filter: it doesn't look meanwhile
      interval: 1s
      unhealthy_interval: 0.25s # one that comes up is asked soon
      no_traffic_interval: 1s
      unhealthy_threshold: 2
      healthy_threshold: 1
      {{ $grpc | ternary "grpc_health_check: {}" "http_health_check: { path: /v2/health/ready }" }}
  circuit_breakers:
    thresholds:
      - { max_connections: 1024, max_pending_requests: 4096, max_requests: 8192, max_retries: 1024 }
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: { {{ $grpc | ternary "http2_protocol_options" "http_protocol_options" }}: {} }
      common_http_protocol_options: { idle_timeout: 60s }
      {{- with include "forebay.envoyProves" $ }}{{ trim . | nindent 6 }}{{ end }}
  {{- with include "forebay.envoySpeaksTlsTo" (list $ (printf "%s-backend" (include "forebay.onDemandName" $)) ($grpc | ternary "h2" "http/1.1")) }}{{ trim . | nindent 2 }}{{ end }}
  load_assignment:
    cluster_name: {{ $cluster }}
    endpoints:
      - lb_endpoints:
          - endpoint: { address: { socket_address: { address: {{ include "forebay.onDemandName" $ }}-backend-headless, port_value: {{ $port }} } } }
      - priority: 1
        lb_endpoints:
          - endpoint: { address: { socket_address: { address: {{ include "forebay.onDemandName" $ }}-gate, port_value: {{ $port }} } } }
{{- end }}
{{- end }}
{{- end }}
