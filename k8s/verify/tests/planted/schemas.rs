//! Fields and kinds that no schema has.

use super::all_are_caught;

#[test]
fn unknown_fields_and_wrong_types_of_kubernetes_kinds_are_caught() {
    all_are_caught(&[
        ("replicas: 3\n", "replcias: 3\n", "Deployment/ml/server: spec.replcias"),
        (
            "resources: {requests",
            "resource: {requests",
            "Deployment/ml/server: spec.template.spec.containers[0].resource",
        ),
        (
            "readOnlyRootFilesystem: true",
            "readonlyRootFilesystem: true",
            "Deployment/ml/server: spec.template.spec.containers[0].securityContext.readonlyRootFilesystem",
        ),
        (
            "serviceAccountName: server",
            "serviceaccountName: server",
            "Deployment/ml/server: spec.template.spec.serviceaccountName",
        ),
        (
            "{name: http, port: 80, targetPort: http}",
            "{name: http, targetPort: http}",
            "Service/ml/server: spec.ports[0].port",
        ),
        (
            "{name: http, port: 80, targetPort: http}",
            "{name: http, port: eighty, targetPort: http}",
            "Service/ml/server: spec.ports[0].port",
        ),
        (
            "{name: http, port: 80, targetPort: http}",
            "{name: http, port: 80, targetPort: true}",
            "Service/ml/server: spec.ports[0].targetPort",
        ),
        (
            "emptyDir: {}",
            "emptyDirectory: {}",
            "Deployment/ml/server: spec.template.spec.volumes[0].emptyDirectory",
        ),
        ("emptyDir: {}", "emptyDir: []", "Deployment/ml/server: spec.template.spec.volumes[0].emptyDir"),
        (
            "volumeMounts: [{name: models, mountPath: /models}]",
            "volumeMounts: {name: models, mountPath: /models}",
            "Deployment/ml/server: spec.template.spec.containers[0].volumeMounts",
        ),
        (
            "{name: API_TOKEN, valueFrom",
            "{name: FOREBAY_POOL, valueFrom",
            "Deployment/ml/server: spec.template.spec.containers[0].env[4]",
        ),
        ("apiVersion: apps/v1\n", "apiVersion: extensions/v1beta1\n", "Deployment/ml/server: apiVersion"),
        ("apiVersion: apps/v1\n", "apiVersion: app/v1\n", "Deployment/ml/server: apiVersion"),
        ("kind: Deployment\nmetadata", "kind: Deploymnet\nmetadata", "Deploymnet/ml/server: kind"),
        (
            "  selector: {matchLabels: {app: server}}\n  template",
            "  template",
            "Deployment/ml/server: spec.selector",
        ),
        (
            "  labels: {app: server}\n  annotations",
            "  label: {app: server}\n  annotations",
            "Deployment/ml/server: metadata.label",
        ),
    ]);
}

#[test]
fn unknown_fields_values_and_broken_rules_of_custom_kinds_are_caught() {
    all_are_caught(&[
        ("minReplicaCount: 2", "minReplicas: 2", "ScaledObject/ml/queue: spec.minReplicas"),
        (
            "fallback: {failureThreshold: 3, replicas: 6}",
            "fallback: {replicas: 6}",
            "ScaledObject/ml/queue: spec.fallback.failureThreshold",
        ),
        (
            "spec:\n  scaleTargetRef: {name: server}\n",
            "spec:\n",
            "ScaledObject/ml/queue: spec.scaleTargetRef",
        ),
        (
            "creationPolicy: Orphan",
            "creationPolicy: Orphaned",
            "ExternalSecret/ml/brought: spec.target.creationPolicy",
        ),
        ("refreshInterval: 1m", "refreshIntervall: 1m", "ExternalSecret/ml/brought: spec.refreshIntervall"),
        ("protocolVersions: [v2", "protocolVersion: [v2", "ServingRuntime/ml/forebay: spec.protocolVersion"),
        (
            "modelFormat: {name: onnx}",
            "modelformat: {name: onnx}",
            "InferenceService/ml/model: spec.predictor.model.modelformat",
        ),
        ("{mode: STRICT}", "{mode: STRICKT}", "PeerAuthentication/ml/strict: spec.portLevelMtls.8000.mode"),
        ("resolution: STATIC", "resolution: STATICS", "ServiceEntry/ml/pool: spec.resolution"),
        ("hosts: [pool.example.com]", "hosts: []", "ServiceEntry/ml/pool: spec.hosts"),
        ("retries: {attempts: 2", "retry: {attempts: 2", "VirtualService/ml/shares: spec.http[0].retry"),
        (
            "{uri: {prefix: /v2}}",
            "{uri: {prefix: /v2, exact: /v3}}",
            "VirtualService/ml/shares: spec.http[0].match[0].uri",
        ),
        (
            "maxEjectionPercent: 100",
            "maxEjectionPercent: all",
            "DestinationRule/ml/local: spec.trafficPolicy.outlierDetection.maxEjectionPercent",
        ),
        ("project: default", "projects: default", "Application/argocd/app: spec.project"),
        (
            "applyTo: VIRTUAL_HOST",
            "applyTo: VIRTUALHOST",
            "EnvoyFilter/ml/forebay: spec.configPatches[3].applyTo",
        ),
        ("apiVersion: keda.sh/v1alpha1", "apiVersion: keda.sh/v1", "ScaledObject/ml/queue: apiVersion"),
    ]);
}
