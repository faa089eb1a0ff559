//! Slips in what scalers, runtimes, meshes and deployments from Git read.

use super::{GOOD, all_are_caught};

#[test]
fn slips_in_scalers_and_runtimes_are_caught() {
    all_are_caught(&[
        (
            "type: prometheus\n      name: waiting",
            "type: prometheus\n      name: waiting\n      useCachedMetrics: \"yes\"",
            "ScaledObject/ml/queue: spec.triggers[0].useCachedMetrics",
        ),
        (
            "metadata: {value: \"60\"}",
            "metadata: {value: \"160%\"}",
            "ScaledObject/ml/queue: spec.triggers[1].metadata.value",
        ),
        (
            "minReplicaCount: 2",
            "minReplicaCount: 0\n  cooldownPeriod: -5",
            "ScaledObject/ml/queue: spec.cooldownPeriod",
        ),
        (
            "maxReplicaCount: 9",
            "maxReplicaCount: 9\n  pollingInterval: 0",
            "ScaledObject/ml/queue: spec.pollingInterval",
        ),
        (
            "maxReplicaCount: 9",
            "maxReplicaCount: 9\n  advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 9000}}}}",
            "ScaledObject/ml/queue: spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds",
        ),
        (
            "maxReplicaCount: 9",
            "maxReplicaCount: 9\n  advanced: {scalingModifiers: {formula: \"wating + busy\", target: \"2\"}}",
            "ScaledObject/ml/queue: spec.advanced.scalingModifiers.formula",
        ),
        (
            "query: \"sum(forebay_queue_seconds_count)\"",
            "query: \"sum(forebay_queue_seconds_count\"",
            "ScaledObject/ml/queue: spec.triggers[0].metadata.query",
        ),
        (
            "serverAddress: \"http://prometheus.monitoring:9090\"",
            "serverAddress: \"prometheus.monitoring:9090\"",
            "ScaledObject/ml/queue: spec.triggers[0].metadata.serverAddress",
        ),
        (
            "metadata: {name: queue, namespace: ml, annotations: {autoscaling.keda.sh/paused: \"false\"}}",
            "metadata: {name: queue, namespace: ml, annotations: {autoscaling.keda.sh/paused-replicas: \"two\"}}",
            "ScaledObject/ml/queue: metadata.annotations[autoscaling.keda.sh/paused-replicas]",
        ),
        (
            "storageUri: \"s3://models/one\"",
            "storageUri: \"s3://models/one\", args: \"--x\"",
            "InferenceService/ml/model: spec.predictor.model.args",
        ),
        (
            "autoscalerClass: keda}",
            "autoscalerClass: keda, serving.kserve.io/metric: queue}",
            "InferenceService/ml/model: metadata.annotations[serving.kserve.io/metric]",
        ),
        (
            "  predictor:\n    model:",
            "  predictor:\n    scaleTarget: 50\n    scaleMetric: cpus\n    model:",
            "InferenceService/ml/model: spec.predictor.scaleMetric",
        ),
        (
            "ports: [{containerPort: 8080}]",
            "ports: [{containerPort: 8080, name: http1}, {containerPort: 9000, name: http1}]",
            "ServingRuntime/ml/forebay: spec.containers[0].ports[1].name",
        ),
        (
            "  predictor:\n    model:",
            "  predictor:\n    canaryTrafficPercent: 120\n    model:",
            "InferenceService/ml/model: spec.predictor.canaryTrafficPercent",
        ),
        (
            "  predictor:\n    model:",
            "  predictor:\n    timeout: 5m\n    model:",
            "InferenceService/ml/model: spec.predictor.timeout",
        ),
        (
            "autoSelect: true, priority: 2",
            "autoSelect: true, priority: 0",
            "ServingRuntime/ml/forebay: spec.supportedModelFormats[0].priority",
        ),
    ]);
}

#[test]
fn slips_in_the_mesh_are_caught() {
    all_are_caught(&[
        (
            "retries: {attempts: 2,",
            "timeout: 2s\n      retries: {attempts: 2, perTryTimeout: 5s,",
            "VirtualService/ml/shares: spec.http[0].retries.perTryTimeout",
        ),
        (
            "retries: {attempts: 2,",
            "timeout: 10\n      retries: {attempts: 2,",
            "VirtualService/ml/shares: spec.http[0].timeout",
        ),
        (
            "route: [{destination: {host: server}, weight: 75}",
            "fault: {delay: {percentage: {value: 150}, fixedDelay: 1s}}\n      route: [{destination: {host: server}, weight: 75}",
            "VirtualService/ml/shares: spec.http[0].fault.delay.percentage.value",
        ),
        (
            "    - match: [{uri: {prefix: /v2}}]\n",
            "    - match: [{uri: {regex: \"/v2/(models\"}}]\n",
            "VirtualService/ml/shares: spec.http[0].match[0].uri.regex",
        ),
        (
            "outlierDetection: {maxEjectionPercent: 100}",
            "outlierDetection: {maxEjectionPercent: 100, interval: 10}",
            "DestinationRule/ml/local: spec.trafficPolicy.outlierDetection.interval",
        ),
        (
            "ports: [{number: 80, name: http, protocol: HTTP}]",
            "ports: [{number: 80, name: http, protocol: HTPP}]",
            "ServiceEntry/ml/pool: spec.ports[0].protocol",
        ),
        (
            "ports: [{number: 80, name: http, protocol: HTTP}]",
            "ports: [{number: 80, name: http, protocol: HTTP}]\n  location: MESH_EXTERNALS",
            "ServiceEntry/ml/pool: spec.location",
        ),
        (
            "context: GATEWAY\n        listener:",
            "context: GATEWAYS\n        listener:",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].match.context",
        ),
        (
            "resource_api_version: V3}\n",
            "resource_api_version: V4}\n",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].patch.value",
        ),
        (
            "default_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC}",
            "default_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACs}",
            "EnvoyFilter/ml/forebay: spec.configPatches[0].patch.value",
        ),
        (
            "patch: {operation: MERGE, value: {request_body_buffer_limit: 8388608}}",
            "patch: {operation: MERGE, value: {request_body_buffer_limit: -1}}",
            "EnvoyFilter/ml/forebay: spec.configPatches[3].patch.value",
        ),
    ]);
}

#[test]
fn slips_in_rules_secrets_and_deployments_are_caught() {
    all_are_caught(&[
        ("for: 10m,", "for: ten minutes,", "PrometheusRule/ml/watch: spec.groups[0].rules[1].for"),
        (
            "annotations: {summary: nothing comes}",
            "annotations: {summary: \"nothing comes to {{ $labels.service }\"}",
            "PrometheusRule/ml/watch: spec.groups[0].rules[1]",
        ),
        (
            "refreshInterval: 1m",
            "refreshInterval: 1 minute",
            "ExternalSecret/ml/brought: spec.refreshInterval",
        ),
        (
            "vault.hashicorp.com/agent-inject-secret-pool: secret/data/pool",
            "vault.hashicorp.com/agent-inject-secret-pool: secret/pool",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-inject-secret-pool]",
        ),
        (
            ".Data.data.key",
            ".Data.key",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-inject-template-pool]",
        ),
        (
            "vault.hashicorp.com/role: server\n",
            "vault.hashicorp.com/role: server\n        vault.hashicorp.com/agent-limits-cpu: 100mi\n",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-limits-cpu]",
        ),
        (
            "vault.hashicorp.com/role: server\n",
            "vault.hashicorp.com/role: server\n        vault.hashicorp.com/agent-pre-populate-only: \"yes\"\n",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-pre-populate-only]",
        ),
        (
            "syncPolicy: {syncOptions:",
            "syncPolicy: {automated: {prune: \"true\"}, syncOptions:",
            "Application/argocd/app: spec.syncPolicy.automated.prune",
        ),
        (
            "targetRevision: main}",
            "targetRevision: main, helm: {valueFiles: /values.yaml}}",
            "Application/argocd/app: spec.source.helm.valueFiles",
        ),
        (
            "targetRevision: main}",
            "targetRevision: main, helm: {releaseName: a}, kustomize: {namePrefix: b-}}",
            "Application/argocd/app: spec.source",
        ),
        (
            "syncPolicy: {syncOptions:",
            "syncPolicy: {retry: {limit: 5, backoff: {duration: 5, factor: 2}}, syncOptions:",
            "Application/argocd/app: spec.syncPolicy.retry.backoff.duration",
        ),
        (
            "ignoreDifferences: [{group: apps, kind: Deployment,",
            "ignoreDifferences: [{group: app, kind: Deployment,",
            "Application/argocd/app: spec.ignoreDifferences[0].group",
        ),
        (
            "ignoreDifferences: [{group: apps, kind: Deployment,",
            "ignoreDifferences: [{group: apps, kind: Deployments,",
            "Application/argocd/app: spec.ignoreDifferences[0].kind",
        ),
    ]);
}

#[test]
fn nobody_minds_what_controllers_take() {
    GOOD.nobody_minds(&[
        ("maxReplicaCount: 9", "maxReplicaCount: 9\n  advanced: {restoreToOriginalReplicaCount: true, scalingModifiers: {formula: \"max([waiting, busy]) + (waiting > 2 ? 1 : 0)\", target: \"2\"}, horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 300, policies: [{type: Percent, value: 50, periodSeconds: 60}]}}}}"),
        ("metadata: {value: \"60\"}", "metadata: {value: \"120\"}"),
        ("query: \"sum(forebay_queue_seconds_count)\"", "query: \"sum by (namespace) (rate(forebay_queue_seconds_count{namespace=\\\"ml\\\"}[2m])) > 1 or vector(0)\""),
        ("autoscalerClass: keda}", "autoscalerClass: external, serving.kserve.io/metric: cpu}"),
        ("  predictor:\n    model:", "  predictor:\n    canaryTrafficPercent: 10\n    minReplicas: 0\n    maxReplicas: 5\n    model:"),
        ("ports: [{containerPort: 8080}]", "ports: [{containerPort: 8080, name: http1, protocol: TCP}, {containerPort: 9000, name: h2c, protocol: TCP}]"),
        ("retries: {attempts: 2,", "timeout: 5s\n      retries: {attempts: 2, perTryTimeout: 2s,"),
        ("    - match: [{uri: {prefix: /v2}}]\n", "    - match: [{uri: {regex: \"/v2/(models|repository)/[^/]+.*\"}, headers: {x-a: {regex: \"^(?i)b$\"}}}]\n"),
        ("route: [{destination: {host: server}, weight: 75}", "fault: {delay: {percentage: {value: 0.5}, fixedDelay: 1s}}\n      route: [{destination: {host: server}, weight: 75}"),
        ("ports: [{number: 80, name: http, protocol: HTTP}]", "ports: [{number: 80, name: http-web, protocol: http}]"),
        ("endpoints: [{address: 10.0.0.7}]", "endpoints: [{address: 10.0.0.7, ports: {http: 8080}, labels: {a-b: c}}]"),
        ("endpoints: [{address: 10.0.0.7}]", "endpoints: [{address: 10.0.0.7, ports: {http-web: 8080}}]"),
        ("portLevelMtls: {8000: {mode: STRICT}}", "portLevelMtls: {8001: {mode: DISABLE}}"),
        ("outlierDetection: {maxEjectionPercent: 100}", "outlierDetection: {maxEjectionPercent: 100, interval: 10s, baseEjectionTime: 30s, consecutive5xxErrors: 3}"),
        ("refreshInterval: 1m", "refreshInterval: 1h0m0s"),
        ("refreshInterval: 1m", "refreshInterval: \"0\""),
        ("vault.hashicorp.com/role: server\n", "vault.hashicorp.com/role: server\n        vault.hashicorp.com/agent-limits-cpu: \"\"\n        vault.hashicorp.com/agent-requests-mem: 64Mi\n        vault.hashicorp.com/agent-pre-populate-only: \"True\"\n"),
        ("{{ .Data.data.key }}{{ end }}", "{{ .Data.data.key }}-{{ .Data.metadata.version }}{{ end }}"),
        ("syncPolicy: {syncOptions:", "syncPolicy: {retry: {limit: 5, backoff: {duration: 5s, factor: 2, maxDuration: 3m}}, automated: {}, syncOptions:"),
        ("ignoreDifferences: [{group: apps, kind: Deployment,", "ignoreDifferences: [{kind: Secret, name: x, jsonPointers: [/data]}, {group: \"*\", kind: \"*\", managedFieldsManagers: [kube-controller-manager]}, {group: example.com, kind: Whatever, jqPathExpressions: [.spec]}, {group: keda.sh, kind: ScaledObject, jsonPointers: [/spec]}, {group: apps, kind: Deployment,"),
        ("targetRevision: main}", "targetRevision: main, kustomize: {images: [\"a=b:1\"]}, helm: {}}"),
    ]);
}
