//! Mistakes in everything that is no pod: what an API server refuses beyond schemas, or what does nothing.

use super::all_are_caught;

#[test]
fn mistakes_in_names_and_labels_are_caught() {
    all_are_caught(&[
        (
            "kind: Deployment\nmetadata:\n  name: web\n",
            "kind: Deployment\nmetadata:\n  name: Web\n",
            "Deployment/ml/Web: metadata.name",
        ),
        (
            "kind: Deployment\nmetadata:\n  name: web\n",
            "kind: Deployment\nmetadata:\n  name: web_1\n",
            "Deployment/ml/web_1: metadata.name",
        ),
        (
            "metadata: {name: edge, namespace: ml}\nspec:\n  type",
            "metadata: {name: 1.edge, namespace: ml}\nspec:\n  type",
            "Service/ml/1.edge: metadata.name",
        ),
        (
            "metadata: {name: sweep, namespace: ml}",
            "metadata: {name: sweep, namespace: M L}",
            "CronJob/M L/sweep: metadata.namespace",
        ),
        (
            "metadata: {name: binary, namespace: ml}",
            "metadata: {namespace: ml}",
            "ConfigMap/ml/: metadata.name",
        ),
        (
            "metadata: {name: binary, namespace: ml}",
            "metadata: {name: web-config, namespace: ml}",
            "ConfigMap/ml/web-config: metadata.name",
        ),
        (
            "app.kubernetes.io/part-of: shop\n    spec",
            "app.kubernetes.io/part-of: \"the shop\"\n    spec",
            "Deployment/ml/web: spec.template.metadata.labels[app.kubernetes.io/part-of]",
        ),
        (
            "app.kubernetes.io/part-of: shop\n    spec",
            "app/part/of: shop\n    spec",
            "Deployment/ml/web: spec.template.metadata.labels[app/part/of]",
        ),
        (
            "example.com/Owner: ml",
            "example.com/: ml",
            "Deployment/ml/web: metadata.annotations[example.com/]",
        ),
        (
            "enforce: restricted",
            "enforce: strict",
            "Namespace/ml: metadata.labels[pod-security.kubernetes.io/enforce]",
        ),
        (
            "enforce-version: latest",
            "enforce-version: \"1.37\"",
            "Namespace/ml: metadata.labels[pod-security.kubernetes.io/enforce-version]",
        ),
    ]);
}

#[test]
fn mistakes_in_workloads_are_caught() {
    all_are_caught(&[
        (
            "  selector:\n    matchLabels:\n      app.kubernetes.io/name: web\n",
            "  selector:\n    matchLabels:\n      app.kubernetes.io/name: www\n",
            "Deployment/ml/web: spec.template.metadata.labels",
        ),
        (
            "  selector:\n    matchLabels:\n      app.kubernetes.io/name: web\n",
            "",
            "Deployment/ml/web: spec.selector",
        ),
        (
            "  selector:\n    matchLabels:\n      app.kubernetes.io/name: web\n",
            "  selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}\n",
            "Deployment/ml/web: spec.selector.matchExpressions[0].values",
        ),
        (
            "metadata: {labels: {app.kubernetes.io/name: web-cache}}",
            "metadata: {labels: {app.kubernetes.io/name: web}}",
            "StatefulSet/ml/web-cache: spec.template.metadata.labels",
        ),
        (
            "type: RollingUpdate\n    rolling",
            "type: Recreate\n    rolling",
            "Deployment/ml/web: spec.strategy.rollingUpdate",
        ),
        (
            "{maxSurge: 1, maxUnavailable: 0}",
            "{maxSurge: 0, maxUnavailable: 0}",
            "Deployment/ml/web: spec.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            "{maxSurge: 1, maxUnavailable: 0}",
            "{maxSurge: 0%, maxUnavailable: 0%}",
            "Deployment/ml/web: spec.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            "{maxSurge: 1, maxUnavailable: 0}",
            "{maxSurge: \"1\", maxUnavailable: 0}",
            "Deployment/ml/web: spec.strategy.rollingUpdate.maxSurge",
        ),
        (
            "{maxSurge: 1, maxUnavailable: 0}",
            "{maxSurge: 1, maxUnavailable: 120%}",
            "Deployment/ml/web: spec.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            "revisionHistoryLimit: 3",
            "revisionHistoryLimit: -3",
            "Deployment/ml/web: spec.revisionHistoryLimit",
        ),
        (
            "progressDeadlineSeconds: 600",
            "progressDeadlineSeconds: 8",
            "Deployment/ml/web: spec.progressDeadlineSeconds",
        ),
        (
            "serviceAccountName: web\n      priority",
            "restartPolicy: OnFailure\n      priority",
            "Deployment/ml/web: spec.template.spec.restartPolicy",
        ),
        (
            "rollingUpdate: {partition: 0}",
            "rollingUpdate: {partition: -1}",
            "StatefulSet/ml/web-cache: spec.updateStrategy.rollingUpdate.partition",
        ),
        (
            "podManagementPolicy: OrderedReady",
            "podManagementPolicy: Ordered",
            "StatefulSet/ml/web-cache: spec.podManagementPolicy",
        ),
        (
            "rollingUpdate: {maxUnavailable: 1}",
            "rollingUpdate: {maxUnavailable: 1, maxSurge: 1}",
            "DaemonSet/ml/warm: spec.updateStrategy.rollingUpdate.maxSurge",
        ),
        (
            "restartPolicy: Never",
            "restartPolicy: Always",
            "CronJob/ml/sweep: spec.jobTemplate.spec.template.spec.restartPolicy",
        ),
        ("      restartPolicy: OnFailure\n", "", "Job/ml/fill: spec.template.spec.restartPolicy"),
        ("completionMode: Indexed", "backoffLimitPerIndex: 1", "Job/ml/fill: spec.backoffLimitPerIndex"),
        ("  completions: 3\n", "  parallelism: 2\n", "Job/ml/fill: spec.completions"),
        ("\"*/30 * * * *\"", "\"*/30 * * *\"", "CronJob/ml/sweep: spec.schedule"),
        ("\"*/30 * * * *\"", "\"0 24 * * *\"", "CronJob/ml/sweep: spec.schedule"),
        ("\"*/30 * * * *\"", "\"CRON_TZ=UTC 0 2 * * *\"", "CronJob/ml/sweep: spec.schedule"),
        ("timeZone: Europe/Berlin", "timeZone: Berlin", "CronJob/ml/sweep: spec.timeZone"),
        ("concurrencyPolicy: Forbid", "concurrencyPolicy: Never", "CronJob/ml/sweep: spec.concurrencyPolicy"),
    ]);
}

#[test]
fn mistakes_in_services_and_policies_of_networks_are_caught() {
    all_are_caught(&[
        ("- {name: grpc, port: 8001}", "- {port: 8001}", "Service/ml/web: spec.ports[1].name"),
        ("- {name: grpc, port: 8001}", "- {name: http, port: 8001}", "Service/ml/web: spec.ports[1].name"),
        (
            "- {name: grpc, port: 8001}",
            "- {name: grpc, port: 80, targetPort: 8001}",
            "Service/ml/web: spec.ports[1].port",
        ),
        (
            "- {name: grpc, port: 8001}",
            "- {name: grpc, port: 8001, nodePort: 30001}",
            "Service/ml/web: spec.ports[1].nodePort",
        ),
        ("nodePort: 30443", "nodePort: 443", "Service/ml/edge: spec.ports[0].nodePort"),
        ("  type: LoadBalancer\n", "", "Service/ml/edge: spec.externalTrafficPolicy"),
        (
            "  type: LoadBalancer\n",
            "  type: LoadBalancer\n  clusterIP: None\n",
            "Service/ml/edge: spec.clusterIP",
        ),
        ("[10.0.0.0/8]\n", "[10.0.0.0]\n", "Service/ml/edge: spec.loadBalancerSourceRanges[0]"),
        ("sessionAffinity: ClientIP", "sessionAffinity: None", "Service/ml/edge: spec.sessionAffinityConfig"),
        (
            "timeoutSeconds: 600",
            "timeoutSeconds: 86401",
            "Service/ml/edge: spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        ),
        (
            "  ipFamilyPolicy: PreferDualStack\n  ipFamilies: [IPv4]\n",
            "  ipFamilies: [IPv4, IPv6]\n",
            "Service/ml/edge: spec.ipFamilies",
        ),
        (
            "externalName: models.example.com",
            "externalName: 10.0.0.1",
            "Service/ml/models: spec.externalName",
        ),
        (", externalName: models.example.com", "", "Service/ml/models: spec.externalName"),
        ("    - host: web.example.com", "    - host: Web.example.com", "Ingress/ml/web: spec.rules[0].host"),
        (
            "{path: /v2, pathType: Prefix,",
            "{path: v2, pathType: Prefix,",
            "Ingress/ml/web: spec.rules[0].http.paths[0].path",
        ),
        (
            "{path: /v2, pathType: Prefix,",
            "{path: /v2, pathType: prefix,",
            "Ingress/ml/web: spec.rules[0].http.paths[0].pathType",
        ),
        (
            "{path: /v2, pathType: Prefix,",
            "{path: /v2,",
            "Ingress/ml/web: spec.rules[0].http.paths[0].pathType",
        ),
        (
            "port: {name: http}}}}",
            "port: {name: http, number: 80}}}}",
            "Ingress/ml/web: spec.rules[0].http.paths[0].backend.service.port",
        ),
        (
            "except: [10.9.0.0/16]",
            "except: [11.9.0.0/16]",
            "NetworkPolicy/ml/web: spec.ingress[0].from[2].ipBlock.except[0]",
        ),
        (
            "cidr: 10.0.0.0/8,",
            "cidr: 10.0.0.0/33,",
            "NetworkPolicy/ml/web: spec.ingress[0].from[2].ipBlock.cidr",
        ),
        ("endPort: 30010", "endPort: 29999", "NetworkPolicy/ml/web: spec.ingress[0].ports[2].endPort"),
        ("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", "NetworkPolicy/ml/web: spec.egress"),
        (
            "operator: In, values: [warm, sweep]",
            "operator: in, values: [warm, sweep]",
            "NetworkPolicy/ml/web: spec.ingress[0].from[1].podSelector.matchExpressions[0].operator",
        ),
    ]);
}

#[test]
fn mistakes_in_bounds_are_caught() {
    all_are_caught(&[
        ("maxReplicas: 9", "maxReplicas: 2", "HorizontalPodAutoscaler/ml/web: spec.maxReplicas"),
        ("minReplicas: 3", "minReplicas: 0", "HorizontalPodAutoscaler/ml/web: spec.minReplicas"),
        (
            "{apiVersion: apps/v1, kind: Deployment, name: web}",
            "{kind: Deployment, name: web}",
            "HorizontalPodAutoscaler/ml/web: spec.scaleTargetRef.apiVersion",
        ),
        (
            "{type: Pods, pods:",
            "{type: Object, pods:",
            "HorizontalPodAutoscaler/ml/web: spec.metrics[0].object",
        ),
        (
            "{type: AverageValue, averageValue: \"4\"}",
            "{type: Value, value: \"4\"}",
            "HorizontalPodAutoscaler/ml/web: spec.metrics[0].pods.target",
        ),
        (
            "{type: AverageValue, averageValue: \"4\"}",
            "{type: AverageValue, averageValue: \"0\"}",
            "HorizontalPodAutoscaler/ml/web: spec.metrics[0].pods.target.averageValue",
        ),
        (
            "stabilizationWindowSeconds: 300",
            "stabilizationWindowSeconds: 7200",
            "HorizontalPodAutoscaler/ml/web: spec.behavior.scaleDown.stabilizationWindowSeconds",
        ),
        (
            "minAvailable: 2",
            "minAvailable: 2\n  maxUnavailable: 1",
            "PodDisruptionBudget/ml/web: spec.maxUnavailable",
        ),
        ("minAvailable: 2", "minAvailable: 200%", "PodDisruptionBudget/ml/web: spec.minAvailable"),
        (
            "unhealthyPodEvictionPolicy: AlwaysAllow",
            "unhealthyPodEvictionPolicy: Always",
            "PodDisruptionBudget/ml/web: spec.unhealthyPodEvictionPolicy",
        ),
        ("requests.cpu: \"40\"", "request.cpu: \"40\"", "ResourceQuota/ml/ml: spec.hard[request.cpu]"),
        ("min: {memory: 16Mi}", "min: {memory: 16Gi}", "LimitRange/ml/ml: spec.limits[0].min.memory"),
        ("value: 100000", "value: 2000000000", "PriorityClass/serving: value"),
        ("handler: nvidia", "handler: nvidia/cdi", "RuntimeClass/nvidia: handler"),
        ("reclaimPolicy: Retain\nvolume", "reclaimPolicy: Keep\nvolume", "StorageClass/fast: reclaimPolicy"),
        (
            "  accessModes: [ReadOnlyMany]\n  storageClassName",
            "  accessModes: [ReadMany]\n  storageClassName",
            "PersistentVolumeClaim/ml/models: spec.accessModes[0]",
        ),
        (
            "resources: {requests: {storage: 20Gi}}",
            "resources: {requests: {}}",
            "PersistentVolumeClaim/ml/models: spec.resources.requests.storage",
        ),
        (
            "  nfs: {server",
            "  csi: {driver: x, volumeHandle: y}\n  nfs: {server",
            "PersistentVolume/models: spec",
        ),
        (
            "sideEffects: None",
            "sideEffects: Some",
            "ValidatingWebhookConfiguration/models: webhooks[0].sideEffects",
        ),
        (
            "timeoutSeconds: 5\n",
            "timeoutSeconds: 60\n",
            "ValidatingWebhookConfiguration/models: webhooks[0].timeoutSeconds",
        ),
        (
            "- name: models.example.com\n",
            "- name: models\n",
            "ValidatingWebhookConfiguration/models: webhooks[0].name",
        ),
    ]);
}

#[test]
fn mistakes_in_roles_and_data_are_caught() {
    all_are_caught(&[
        ("verbs: [get, list, patch]", "verbs: []", "Role/ml/web: rules[1].verbs"),
        ("verbs: [get, list, patch]", "verbs: [get, lists, patch]", "Role/ml/web: rules[1].verbs[1]"),
        ("verbs: [get, watch]", "verbs: [create]", "Role/ml/web: rules[0].resourceNames"),
        (
            "resources: [deployments, deployments/scale]",
            "resources: [Deployment]",
            "Role/ml/web: rules[1].resources[0]",
        ),
        (
            "resources: [deployments, deployments/scale]",
            "resources: [deployment]",
            "Role/ml/web: rules[1].resources[0]",
        ),
        (
            "{apiGroups: [apps], resources: [deploy",
            "{apiGroups: [\"\"], resources: [deploy",
            "Role/ml/web: rules[1].resources[0]",
        ),
        ("{apiGroups: [apps], resources: [deploy", "{resources: [deploy", "Role/ml/web: rules[1].apiGroups"),
        ("kind: Role, name: web}", "kind: role, name: web}", "RoleBinding/ml/web: roleRef.kind"),
        (
            "subjects: [{kind: ServiceAccount, name: web, namespace: ml}]",
            "subjects: [{kind: ServiceAccount, name: web}]",
            "ClusterRoleBinding/web-view: subjects[0].namespace",
        ),
        ("{kind: Group, name: ops,", "{kind: Team, name: ops,", "RoleBinding/ml/web: subjects[1].kind"),
        (", tls.key: a2V5", "", "Secret/ml/web-tls: data[tls.key]"),
        ("tls.key: a2V5", "tls.key: \"not base64!\"", "Secret/ml/web-tls: data[tls.key]"),
        ("type: kubernetes.io/tls", "type: kubernetes.io/TLS", "Secret/ml/web-tls: type"),
        ("'{\"auths\": {}}'", "'auths'", "Secret/ml/pull: stringData[.dockerconfigjson]"),
        ("data: {a.txt: text}", "data: {a/b.txt: text}", "ConfigMap/ml/binary: data[a/b.txt]"),
        ("data: {a.txt: text}", "data: {b.bin: text}", "ConfigMap/ml/binary: data[b.bin]"),
        ("binaryData: {b.bin: AAEC}", "binaryData: {b.bin: A}", "ConfigMap/ml/binary: binaryData[b.bin]"),
    ]);
}
