//! What controllers ask of objects.

use super::all_are_caught;

#[test]
fn contracts_of_scalers_and_runtimes_are_kept() {
    all_are_caught(&[
        ("minReplicaCount: 2", "minReplicaCount: 12", "ScaledObject/ml/queue: spec.minReplicaCount"),
        (
            "minReplicaCount: 2",
            "minReplicaCount: 2\n  idleReplicaCount: 2",
            "ScaledObject/ml/queue: spec.idleReplicaCount",
        ),
        ("replicas: 6}", "replicas: 60}", "ScaledObject/ml/queue: spec.fallback.replicas"),
        ("type: prometheus", "type: prometeus", "ScaledObject/ml/queue: spec.triggers[0].type"),
        ("threshold: \"7\"", "treshold: \"7\"", "ScaledObject/ml/queue: spec.triggers[0].metadata.threshold"),
        (
            "threshold: \"7\"",
            "threshold: seven",
            "ScaledObject/ml/queue: spec.triggers[0].metadata.threshold",
        ),
        (
            "serverAddress: \"http://prometheus.monitoring:9090\", ",
            "",
            "ScaledObject/ml/queue: spec.triggers[0].metadata.serverAddress",
        ),
        (
            "metricType: AverageValue",
            "metricType: Utilization",
            "ScaledObject/ml/queue: spec.triggers[0].metricType",
        ),
        ("name: busy", "name: waiting", "ScaledObject/ml/queue: spec.triggers[1].name"),
        (
            "autoscaling.keda.sh/paused: \"false\"",
            "autoscaling.keda.sh/pause: \"false\"",
            "ScaledObject/ml/queue: metadata.annotations[autoscaling.keda.sh/pause]",
        ),
        ("name: kserve-container", "name: server", "ServingRuntime/ml/forebay: spec.containers[0].name"),
        ("[v2, grpc-v2]", "[v2, grpcv2]", "ServingRuntime/ml/forebay: spec.protocolVersions[1]"),
        (
            "  supportedModelFormats: [{name: onnx, version: \"1\", autoSelect: true, priority: 2}]\n",
            "",
            "ServingRuntime/ml/forebay: spec.supportedModelFormats",
        ),
        (
            "deploymentMode: Standard",
            "deploymentMode: Standart",
            "InferenceService/ml/model: metadata.annotations[serving.kserve.io/deploymentMode]",
        ),
        (
            "autoscalerClass: keda",
            "autoscalerClass: kedas",
            "InferenceService/ml/model: metadata.annotations[serving.kserve.io/autoscalerClass]",
        ),
        ("s3://models/one", "s3:/models/one", "InferenceService/ml/model: spec.predictor.model.storageUri"),
        (
            "target: {type: Value, value: \"0.8\"}",
            "target: {type: AverageValue, averageValue: \"0.8\"}",
            "InferenceService/ml/model: spec.predictor.autoScaling.metrics[0].external.target",
        ),
        ("        name: next\n", "", "InferenceService/ml/model: spec.canary[0].predictor.name"),
        (
            "        name: next\n",
            "        name: next\n        maxReplicas: 2\n",
            "InferenceService/ml/model: spec.canary[0].predictor.maxReplicas",
        ),
        (
            "model: {runtime: forebay, modelFormat",
            "model: {name: server, runtime: forebay, modelFormat",
            "InferenceService/ml/model: spec.predictor.model.name",
        ),
        (
            "deploymentMode: Standard",
            "deploymentMode: Knative",
            "InferenceService/ml/model: metadata.annotations[serving.kserve.io/deploymentMode]",
        ),
    ]);
}

#[test]
fn contracts_of_the_mesh_are_kept() {
    all_are_caught(&[
        (
            "    outlierDetection: {maxEjectionPercent: 100}\n",
            "",
            "DestinationRule/ml/local: spec.trafficPolicy.loadBalancer.localityLbSetting",
        ),
        ("weight: 75}", "weight: 85}", "VirtualService/ml/shares: spec.http[0].route"),
        (", weight: 25}", "}", "VirtualService/ml/shares: spec.http[0].route[1].weight"),
        (
            "connect-failure,refused-stream",
            "connect-failure,refused-streams",
            "VirtualService/ml/shares: spec.http[0].retries.retryOn",
        ),
        (
            "    - match: [{uri: {prefix: /v2}}]\n      retries",
            "    - directResponse: {status: 500}\n    - match: [{uri: {prefix: /v2}}]\n      retries",
            "VirtualService/ml/shares: spec.http[0]",
        ),
        (
            "endpoints: [{address: 10.0.0.7}]",
            "endpoints: [{address: pool.internal}]",
            "ServiceEntry/ml/pool: spec.endpoints[0].address",
        ),
        ("credentialName: door-tls", "cipherSuites: []", "Gateway/ml/door: spec.servers[0].tls"),
        (
            "protocol: HTTPS}, hosts: [\"*\"], tls: {mode: SIMPLE, credentialName: door-tls}",
            "protocol: HTTPS}, hosts: [\"*\"]",
            "Gateway/ml/door: spec.servers[0].tls",
        ),
        (
            "sidecar.istio.io/inject: \"true\"",
            "sidecar.istio.io/inject: \"yes\"",
            "Deployment/ml/server: spec.template.metadata.labels[sidecar.istio.io/inject]",
        ),
        (
            "sidecar.istio.io/inject: \"true\"",
            "sidecars.istio.io/inject: \"true\"",
            "Deployment/ml/server: spec.template.metadata.labels[sidecars.istio.io/inject]",
        ),
        (
            "excludeOutboundPorts: \"6379\"",
            "excludeOutboundPort: \"6379\"",
            "Deployment/ml/server: spec.template.metadata.annotations[traffic.sidecar.istio.io/excludeOutboundPort]",
        ),
    ]);
}

#[test]
fn contracts_of_secrets_are_kept() {
    all_are_caught(&[
        (
            "vault.hashicorp.com/role: server",
            "vault.hashicorp.com/rolle: server",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/rolle]",
        ),
        (
            "vault.hashicorp.com/role: server\n        ",
            "",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/role]",
        ),
        (
            "agent-inject: \"true\"",
            "agent-inject: \"on\"",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-inject]",
        ),
        (
            "agent-inject-secret-pool:",
            "agent-inject-secret-pol:",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-inject-template-pool]",
        ),
        (
            "{{ end }}'",
            "{{ end }'",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-inject-template-pool]",
        ),
        (
            "agent-inject-perms-pool: \"0440\"",
            "agent-inject-perms-pool: \"rw\"",
            "Deployment/ml/server: spec.template.metadata.annotations[vault.hashicorp.com/agent-inject-perms-pool]",
        ),
        ("    token: AgAA", "    token: AgA", "SealedSecret/ml/sealed: spec.encryptedData.token"),
        ("    token: AgAA", "    token: xgAA", "SealedSecret/ml/sealed: spec.encryptedData.token"),
        (
            "template: {metadata: {name: sealed",
            "template: {metadata: {name: seal",
            "SealedSecret/ml/sealed: spec.template.metadata.name",
        ),
        (
            "sealedsecrets.bitnami.com/namespace-wide",
            "sealedsecrets.bitnami.com/namespacewide",
            "SealedSecret/ml/sealed: metadata.annotations[sealedsecrets.bitnami.com/namespacewide]",
        ),
        ("{secretKey: two", "{secretKey: one", "ExternalSecret/ml/brought: spec.data[1].secretKey"),
        (
            "deletionPolicy: Retain",
            "deletionPolicy: Delete",
            "ExternalSecret/ml/brought: spec.target.deletionPolicy",
        ),
    ]);
}

#[test]
fn contracts_of_argo_cd_and_of_rules_are_kept() {
    all_are_caught(&[
        (
            "sync-wave: \"3\"",
            "sync-wave: third",
            "Application/argocd/app: metadata.annotations[argocd.argoproj.io/sync-wave]",
        ),
        (
            "argocd.argoproj.io/sync-wave",
            "argocd.argoproj.io/syncwave",
            "Application/argocd/app: metadata.annotations[argocd.argoproj.io/syncwave]",
        ),
        (
            "CreateNamespace=true",
            "CreateNamespaces=true",
            "Application/argocd/app: spec.syncPolicy.syncOptions[0]",
        ),
        (
            "ServerSideApply=true",
            "ServerSideApply=yes",
            "Application/argocd/app: spec.syncPolicy.syncOptions[1]",
        ),
        ("path: k8s/overlays/prod", "path: /k8s/overlays/prod", "Application/argocd/app: spec.source.path"),
        ("path: k8s/overlays/prod, ", "", "Application/argocd/app: spec.source.path"),
        (
            "destination: {server: \"https://kubernetes.default.svc\", ",
            "destination: {",
            "Application/argocd/app: spec.destination",
        ),
        (
            "jsonPointers: [/spec/replicas]",
            "jsonPointers: [spec.replicas]",
            "Application/argocd/app: spec.ignoreDifferences[0].jsonPointers[0]",
        ),
        (
            "rate(forebay_requests[5m])",
            "rate(forebay_request[5m])",
            "PrometheusRule/ml/watch: spec.groups[0].rules[0].expr",
        ),
        (
            "rate(forebay_requests[5m])",
            "rate(forebay_requests[5m]",
            "PrometheusRule/ml/watch: spec.groups[0].rules[0].expr",
        ),
        (
            "forebay:requests == 0",
            "forebay:request == 0",
            "PrometheusRule/ml/watch: spec.groups[0].rules[1].expr",
        ),
        (
            "sum(forebay_queue_seconds_count)",
            "sum(forebay_queues_seconds_count)",
            "ScaledObject/ml/queue: spec.triggers[0].metadata.query",
        ),
        (
            "\"expr\": \"forebay_models\"",
            "\"expr\": \"forebay_modells\"",
            "ConfigMap/ml/board: data[board.json]",
        ),
        (
            "\"expr\": \"forebay_models\"}]}]}",
            "\"expr\": \"forebay_models\"}]}]",
            "ConfigMap/ml/board: data[board.json]",
        ),
    ]);
}
