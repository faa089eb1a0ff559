//! Slips of those who run what others wrote: scalers, gateways, meshes, monitors, stores of secrets, deployments from Git.

use super::{GOOD, all_are_caught};

#[test]
fn slips_in_scaling_are_caught() {
    all_are_caught(&[
        (
            "container: web, target",
            "container: wbe, target",
            "HorizontalPodAutoscaler/ml/web: spec.metrics[1].containerResource.container",
        ),
        (
            "policies: [{type: Pods, value: 1, periodSeconds: 60}]",
            "policies: [{type: Pods, value: 1, periodSeconds: 3600}]",
            "HorizontalPodAutoscaler/ml/web: spec.behavior.scaleDown.policies[0].periodSeconds",
        ),
        (
            "policies: [{type: Pods, value: 1, periodSeconds: 60}]",
            "policies: [{type: Percent, value: 0, periodSeconds: 60}]",
            "HorizontalPodAutoscaler/ml/web: spec.behavior.scaleDown.policies[0].value",
        ),
        (
            "containerResource: {name: cpu,",
            "containerResource: {name: nvidia.com/gpu,",
            "HorizontalPodAutoscaler/ml/web: spec.metrics[1].containerResource.name",
        ),
        (
            "scaleDown: {stabilizationWindowSeconds: 300,",
            "scaleDown: {selectPolicy: Mins, stabilizationWindowSeconds: 300,",
            "HorizontalPodAutoscaler/ml/web: spec.behavior.scaleDown.selectPolicy",
        ),
        (
            "scaleTargetRef: {kind: StatefulSet, name: shard}",
            "scaleTargetRef: {kind: Deployment, name: web}",
            "ScaledObject/ml/warm: spec.scaleTargetRef.name",
        ),
        (
            "  minAvailable: 2\n  unhealthyPodEvictionPolicy: AlwaysAllow\n  selector: {matchLabels: {app.kubernetes.io/name: web}}",
            "  minAvailable: 2\n  unhealthyPodEvictionPolicy: AlwaysAllow\n  selector: {}",
            "PodDisruptionBudget/ml/web: spec.selector",
        ),
        (
            "  minAvailable: 2\n  unhealthyPodEvictionPolicy: AlwaysAllow\n  selector: {matchLabels: {app.kubernetes.io/name: web}}",
            "  minAvailable: 2\n  unhealthyPodEvictionPolicy: AlwaysAllow\n  selector: {matchLabels: {app.kubernetes.io/name: web-cache}}",
            "PodDisruptionBudget/ml/web: spec.minAvailable",
        ),
        (
            "metadata: {name: web, namespace: ml}\nspec:\n  minAvailable: 2",
            "metadata: {name: web, namespace: default}\nspec:\n  minAvailable: 2",
            "PodDisruptionBudget/default/web: spec.selector",
        ),
        (
            "minReplicas: 1\n    maxReplicas: 2",
            "minReplicas: 3\n    maxReplicas: 2",
            "InferenceService/ml/digits: spec.predictor.minReplicas",
        ),
    ]);
}

#[test]
fn slips_in_who_may_reach_whom_are_caught() {
    all_are_caught(&[
        ("{port: 53, protocol: UDP}", "{port: dns, protocol: UDP}", "NetworkPolicy/ml/web: spec.egress"),
        (
            "[{port: http}, {port: 8001}, {port: 30000, endPort: 30010}]",
            "[{port: http}, {port: 8001}, {port: http, endPort: 30010}]",
            "NetworkPolicy/ml/web: spec.ingress[0].ports[2].endPort",
        ),
        (
            "  externalTrafficPolicy: Local\n",
            "  externalTrafficPolicy: Local\n  healthCheckNodePort: 80\n",
            "Service/ml/edge: spec.healthCheckNodePort",
        ),
        (
            "  type: LoadBalancer\n",
            "  type: LoadBalancer\n  loadBalancerClass: my class\n",
            "Service/ml/edge: spec.loadBalancerClass",
        ),
        ("  type: LoadBalancer\n", "  type: Loadbalancer\n", "Service/ml/edge: spec.type"),
        (
            "spec: {type: ExternalName, externalName: models.example.com}",
            "spec: {type: ExternalName, externalName: \"https://models.example.com\"}",
            "Service/ml/models: spec.externalName",
        ),
        (
            "ingressClassName: nginx\n",
            "ingressClassName: nginx\n  defaultBackend: {service: {name: web, port: {name: grcp}}}\n",
            "Ingress/ml/web: spec.defaultBackend.service.port.name",
        ),
        (
            "rules: [{}]",
            "action: ALLOW\n  rules: [{from: [{source: {principals: [\"spiffe://cluster.local/ns/ml/sa/web\"]}}]}]",
            "AuthorizationPolicy/ml/web: spec.rules[0].from[0].source.principals[0]",
        ),
        (
            "rules: [{}]",
            "action: ALLOW\n  rules: [{to: [{operation: {paths: [\"/v2/*/infer*\"]}}]}]",
            "AuthorizationPolicy/ml/web: spec.rules[0].to[0].operation.paths[0]",
        ),
        (
            "rules: [{}]",
            "action: ALLOW\n  rules: [{from: [{source: {namespaces: [monitorin]}}]}]",
            "AuthorizationPolicy/ml/web: spec.rules[0].from[0].source.namespaces[0]",
        ),
        (
            "rules: [{}]",
            "action: ALLOW\n  rules: [{to: [{operation: {ports: [http]}}]}]",
            "AuthorizationPolicy/ml/web: spec.rules[0].to[0].operation.ports[0]",
        ),
        (
            "rules: [{}]",
            "action: ALLOW\n  rules: [{to: [{operation: {methods: [post]}}]}]",
            "AuthorizationPolicy/ml/web: spec.rules[0].to[0].operation.methods[0]",
        ),
        (
            "rules: [{}]",
            "action: ALLOW\n  rules: [{when: [{key: \"request.header[x]\", values: [y]}]}]",
            "AuthorizationPolicy/ml/web: spec.rules[0].when[0].key",
        ),
        (
            "portLevelMtls: {8002:",
            "portLevelMtls: {8003:",
            "PeerAuthentication/ml/web: spec.portLevelMtls.8003",
        ),
        (
            "host: web.ml.svc.cluster.local\n",
            "host: web.ml.svc.cluster.locl\n",
            "DestinationRule/ml/web: spec.host",
        ),
    ]);
}

#[test]
fn slips_in_watching_secrets_and_projects_are_caught() {
    all_are_caught(&[
        (
            "podMetricsEndpoints: [{port: metrics, path: /metrics}]",
            "podMetricsEndpoints: [{port: metrics, path: /metrics, interval: 10s, scrapeTimeout: 60s}]",
            "PodMonitor/ml/web: spec.podMetricsEndpoints[0].scrapeTimeout",
        ),
        (
            "podMetricsEndpoints: [{port: metrics, path: /metrics}]",
            "podMetricsEndpoints: [{port: metrics, path: /metrics, metricRelabelings: [{action: keep, sourceLabels: [__name__], regex: \"forebay_(.*\"}]}]",
            "PodMonitor/ml/web: spec.podMetricsEndpoints[0].metricRelabelings[0].regex",
        ),
        (
            "auth: {kubernetes: {role: web, serviceAccountRef: {name: web}}}",
            "auth: {kubernetes: {mountPath: kubernetes, role: web, serviceAccountRef: {name: wbe}}}",
            "SecretStore/ml/vault: spec.provider.vault.auth.kubernetes.serviceAccountRef.name",
        ),
        (
            "secretStoreRef: {kind: SecretStore, name: vault}",
            "secretStoreRef: {kind: ClusterSecretStore, name: vault}",
            "ExternalSecret/ml/token: spec.secretStoreRef.name",
        ),
        (
            "caProvider: {type: ConfigMap, name: web-config, key: mode}",
            "caProvider: {type: ConfigMap, name: web-config, key: mod}",
            "SecretStore/ml/vault: spec.provider.vault.caProvider.key",
        ),
        (
            "target: {name: web-token}",
            "target: {name: web-token, template: {data: {token: \"{{ .tokn }}\"}}}",
            "ExternalSecret/ml/token: spec.target.template.data.token",
        ),
        (
            "destinations: [{server: https://kubernetes.default.svc, namespace: ml}]",
            "destinations: [{server: https://kubernetes.default.svc, namespace: ml}]\n  syncWindows: [{kind: allow, schedule: \"0 25 * * *\", duration: 1h, applications: [\"*\"]}]",
            "AppProject/argocd/ml: spec.syncWindows[0].schedule",
        ),
        (
            "destinations: [{server: https://kubernetes.default.svc, namespace: ml}]",
            "destinations: [{server: https://kubernetes.default.svc, namespace: ml}]\n  roles: [{name: ci, policies: [\"p, proj:other:ci, applications, sync, ml/*, allow\"]}]",
            "AppProject/argocd/ml: spec.roles[0].policies[0]",
        ),
    ]);
}

#[test]
fn slips_in_pods_and_their_jobs_are_caught() {
    all_are_caught(&[
        (
            "terminationGracePeriodSeconds: 40",
            "terminationGracePeriodSeconds: 40\n      activeDeadlineSeconds: 100",
            "Deployment/ml/web: spec.template.spec.activeDeadlineSeconds",
        ),
        (
            "      dnsPolicy: ClusterFirst\n",
            "      dnsPolicy: ClusterFirst\n      hostname: Web\n",
            "Deployment/ml/web: spec.template.spec.hostname",
        ),
        (
            "      dnsPolicy: ClusterFirst\n",
            "      dnsPolicy: ClusterFirst\n      nodeName: node 1\n",
            "Deployment/ml/web: spec.template.spec.nodeName",
        ),
        (
            "      dnsPolicy: ClusterFirst\n",
            "      dnsPolicy: ClusterFirst\n      shareProcessNamespace: true\n      hostPID: true\n",
            "Deployment/ml/web: spec.template.spec.shareProcessNamespace",
        ),
        (
            "      dnsPolicy: ClusterFirst\n",
            "      dnsPolicy: ClusterFirst\n      dnsConfig: {options: [{value: \"2\"}]}\n",
            "Deployment/ml/web: spec.template.spec.dnsConfig.options[0].name",
        ),
        (
            "runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532,",
            "runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, sysctls: [{name: kernel.shm*, value: \"1\"}],",
            "Deployment/ml/web: spec.template.spec.securityContext.sysctls[0].name",
        ),
        (
            "runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532,",
            "runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, fsGroupChangePolicy: onRootMismatch,",
            "Deployment/ml/web: spec.template.spec.securityContext.fsGroupChangePolicy",
        ),
        (
            "limits: {cpu: \"1\", memory: 1Gi, nvidia.com/gpu: 1}",
            "limits: {cpu: \"1\", memory: 1Gi, nvidia.com/gpu: 1}\n            claims: [{name: gpu}]",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.claims[0].name",
        ),
        (
            "startingDeadlineSeconds: 60",
            "startingDeadlineSeconds: 60\n  failedJobsHistoryLimit: -1",
            "CronJob/ml/sweep: spec.failedJobsHistoryLimit",
        ),
        (
            "      backoffLimit: 2\n",
            "      backoffLimit: 2\n      ttlSecondsAfterFinished: -1\n",
            "CronJob/ml/sweep: spec.jobTemplate.spec.ttlSecondsAfterFinished",
        ),
        (
            "      backoffLimit: 2\n",
            "      backoffLimit: 2\n      podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [0]}}]}\n",
            "CronJob/ml/sweep: spec.jobTemplate.spec.podFailurePolicy.rules[0].onExitCodes.values",
        ),
    ]);
}

#[test]
fn nobody_minds_what_controllers_take() {
    GOOD.nobody_minds(&[
        ("rules: [{}]", "action: DENY\n  rules: [{from: [{source: {notPrincipals: [\"cluster.local/ns/ml/sa/*\"], namespaces: [ml]}}], to: [{operation: {methods: [GET, \"*\"], paths: [\"/v2/*\", \"*/infer\", \"/v2/models/{*}/infer\", \"/{**}\"], ports: [\"8000\"]}}], when: [{key: \"request.headers[x-a]\", values: [b]}]}]"),
        ("rules: [{}]", "rules: [{from: [{source: {requestPrincipals: [\"*\"], ipBlocks: [10.0.0.0/8, \"fd00::1\"], namespaces: [kube-system]}}]}]"),
        ("podMetricsEndpoints: [{port: metrics, path: /metrics}]", "podMetricsEndpoints: [{port: metrics, path: /metrics, interval: 30s, scrapeTimeout: 10s, relabelings: [{sourceLabels: [__meta_kubernetes_pod_name], targetLabel: pod}, {action: labeldrop, regex: \"pod_(a|b)\"}, {action: labelmap, regex: \"__meta_(.+)\"}]}]"),
        ("destinations: [{server: https://kubernetes.default.svc, namespace: ml}]", "destinations: [{server: https://kubernetes.default.svc, namespace: ml}]\n  syncWindows: [{kind: deny, schedule: \"0 22 * * *\", duration: 1h, applications: [\"*\"], timeZone: Europe/Berlin}]\n  roles: [{name: ci, policies: [\"p, proj:ml:ci, applications, sync, ml/*, allow\"], groups: [ops]}]"),
        ("{type: Utilization, averageUtilization: 70}", "{type: AverageValue, averageValue: 500m}"),
        ("  type: LoadBalancer\n", "  type: LoadBalancer\n  loadBalancerClass: example.com/internal\n"),
        ("  type: LoadBalancer\n", "  type: LoadBalancer\n  healthCheckNodePort: 30500\n"),
        ("metadata: {name: web, namespace: ml}\nspec:\n  ingressClassName", "metadata: {name: web, namespace: ml, annotations: {kubernetes.io/ingress.class: nginx, nginx.ingress.kubernetes.io/proxy-body-size: 64m}}\nspec:\n  ingressClassName"),
        ("- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}", "- namespaceSelector: {}"),
        ("      dnsPolicy: ClusterFirst\n", "      dnsPolicy: ClusterFirst\n      setHostnameAsFQDN: true\n      enableServiceLinks: false\n"),
        ("      dnsPolicy: ClusterFirst\n", "      dnsPolicy: ClusterFirst\n      dnsConfig: {options: [{name: ndots, value: \"2\"}]}\n"),
        ("minAvailable: 2\n  unhealthy", "maxUnavailable: 25%\n  unhealthy"),
    ]);
}
