//! Names, selectors, ports, keys and files that mean nothing.

use super::{all_are_caught, judged};

#[test]
fn references_of_pods_are_followed() {
    all_are_caught(&[
        (
            "configMapKeyRef: {name: web-config, key: mode}",
            "configMapKeyRef: {name: web-conf, key: mode}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef.name",
        ),
        (
            "configMapKeyRef: {name: web-config, key: mode}",
            "configMapKeyRef: {name: web-config, key: mood}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef.key",
        ),
        (
            "secretKeyRef: {name: web-token, key: token}",
            "secretKeyRef: {name: web-token, key: password}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[1].valueFrom.secretKeyRef.key",
        ),
        (
            "target: {name: web-token}",
            "target: {name: token}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[1].valueFrom.secretKeyRef.name",
        ),
        (
            "{name: nowhere, key: extra, optional: true}",
            "{name: nowhere, key: extra}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[2].valueFrom.secretKeyRef.name",
        ),
        (
            "configMapRef: {name: web-config}",
            "configMapRef: {name: web}",
            "Deployment/ml/web: spec.template.spec.containers[0].envFrom[0].configMapRef.name",
        ),
        (
            "items: [{key: web.yaml, path: web.yaml}]",
            "items: [{key: web.yml, path: web.yaml}]",
            "Deployment/ml/web: spec.template.spec.volumes[1].configMap.items[0].key",
        ),
        (
            "/etc/web/web.yaml",
            "/etc/web/web.yml",
            "Deployment/ml/web: spec.template.spec.containers[0].args[1]",
        ),
        (
            "mountPath: /etc/web, readOnly: true",
            "mountPath: /etc/web, subPath: w.yaml, readOnly: true",
            "Deployment/ml/web: spec.template.spec.containers[0].volumeMounts[1].subPath",
        ),
        (
            "claimName: models",
            "claimName: model",
            "Deployment/ml/web: spec.template.spec.volumes[0].persistentVolumeClaim.claimName",
        ),
        (
            "serviceAccountName: web\n      priority",
            "serviceAccountName: www\n      priority",
            "Deployment/ml/web: spec.template.spec.serviceAccountName",
        ),
        (
            "priorityClassName: serving",
            "priorityClassName: system-critical",
            "Deployment/ml/web: spec.template.spec.priorityClassName",
        ),
        (
            "runtimeClassName: nvidia",
            "runtimeClassName: nvidia-cdi",
            "Deployment/ml/web: spec.template.spec.runtimeClassName",
        ),
        (
            "      imagePullSecrets:\n        - name: pull",
            "      imagePullSecrets:\n        - name: pulls",
            "Deployment/ml/web: spec.template.spec.imagePullSecrets[0].name",
        ),
        (
            "metadata: {name: pull, namespace: ml}",
            "metadata: {name: pull, namespace: other}",
            "ServiceAccount/ml/web: imagePullSecrets[0].name",
        ),
        ("serviceName: web-cache", "serviceName: cache", "StatefulSet/ml/web-cache: spec.serviceName"),
        (
            "[ReadWriteOnce]\n        storageClassName: fast",
            "[ReadWriteOnce]\n        storageClassName: faster",
            "StatefulSet/ml/web-cache: spec.volumeClaimTemplates[0].spec.storageClassName",
        ),
        ("volumeName: models", "volumeName: model", "PersistentVolumeClaim/ml/models: spec.volumeName"),
        (
            "--redis-url=redis://web-cache:6379",
            "--redis-url=redis://web-cach:6379",
            "Deployment/ml/web: spec.template.spec.containers[0].args[2]",
        ),
        (
            "--redis-url=redis://web-cache:6379",
            "--redis-url=redis://web-cache:6380",
            "Deployment/ml/web: spec.template.spec.containers[0].args[2]",
        ),
        (
            "{address: web-headless, port_value: 8000}",
            "{address: web-headles, port_value: 8000}",
            "ConfigMap/ml/web-config: data[web.yaml]",
        ),
        (
            "{address: web-headless, port_value: 8000}",
            "{address: web-headless, port_value: 8100}",
            "ConfigMap/ml/web-config: data[web.yaml]",
        ),
        (
            "cache: redis://web-cache:6379",
            "cache: redis://web-cachee:6379",
            "ConfigMap/ml/web-config: data[web.yaml]",
        ),
    ]);
}

#[test]
fn ways_to_pods_are_followed() {
    all_are_caught(&[
        (
            "type: ClusterIP\n  selector: {app.kubernetes.io/name: web}",
            "type: ClusterIP\n  selector: {app.kubernetes.io/name: wbe}",
            "Service/ml/web: spec.selector",
        ),
        ("targetPort: http, app", "targetPort: https, app", "Service/ml/web: spec.ports[0].targetPort"),
        (
            "port: 443, targetPort: 8000",
            "port: 443, targetPort: 8443",
            "Service/ml/edge: spec.ports[0].targetPort",
        ),
        ("- {name: grpc, port: 8001}", "- {name: grpc, port: 9001}", "Service/ml/web: spec.ports[1].port"),
        (
            "service: {name: web, port: {name: http}}",
            "service: {name: wbe, port: {name: http}}",
            "Ingress/ml/web: spec.rules[0].http.paths[0].backend.service.name",
        ),
        (
            "service: {name: web, port: {name: http}}",
            "service: {name: web, port: {name: https}}",
            "Ingress/ml/web: spec.rules[0].http.paths[0].backend.service.port.name",
        ),
        (
            "port: {number: 8001}",
            "port: {number: 9001}",
            "Ingress/ml/web: spec.rules[0].http.paths[1].backend.service.port.number",
        ),
        ("ingressClassName: nginx", "ingressClassName: ngnix", "Ingress/ml/web: spec.ingressClassName"),
        (
            "secretName: web-tls}]\n  rules",
            "secretName: pull}]\n  rules",
            "Ingress/ml/web: spec.tls[0].secretName",
        ),
        (
            "  podSelector: {matchLabels: {app.kubernetes.io/name: web}}\n  policyTypes",
            "  podSelector: {matchLabels: {app: web}}\n  policyTypes",
            "NetworkPolicy/ml/web: spec.podSelector",
        ),
        (
            "{kubernetes.io/metadata.name: monitoring}",
            "{kubernetes.io/metadata.name: monitor}",
            "NetworkPolicy/ml/web: spec.ingress[0].from[0].namespaceSelector.matchLabels[kubernetes.io/metadata.name]",
        ),
        (
            "[{port: http}, {port: 8001}",
            "[{port: https}, {port: 8001}",
            "NetworkPolicy/ml/web: spec.ingress[0].ports[0].port",
        ),
        (
            "{port: 6379, protocol: TCP}",
            "{port: 6380, protocol: TCP}",
            "NetworkPolicy/ml/web: spec.egress[1].ports[0].port",
        ),
        (
            "{k8s-app: kube-dns}",
            "{k8s-app: kubedns}",
            "NetworkPolicy/ml/web: spec.egress[2].to[0].podSelector",
        ),
        (
            "to: [{podSelector: {matchLabels: {app.kubernetes.io/name: web-cache}}}]",
            "to: [{podSelector: {matchLabels: {app.kubernetes.io/name: cache}}}]",
            "NetworkPolicy/ml/web: spec.egress[1].to[0].podSelector",
        ),
        (
            "podMetricsEndpoints: [{port: metrics,",
            "podMetricsEndpoints: [{port: metric,",
            "PodMonitor/ml/web: spec.podMetricsEndpoints[0].port",
        ),
        (
            "  selector: {matchLabels: {app.kubernetes.io/name: web}}\n  podMetrics",
            "  selector: {matchLabels: {app: web}}\n  podMetrics",
            "PodMonitor/ml/web: spec.selector",
        ),
        (
            "endpoints: [{port: http}]",
            "endpoints: [{port: metrics}]",
            "ServiceMonitor/monitoring/web: spec.endpoints[0].port",
        ),
        (
            "matchNames: [ml]",
            "matchNames: [mll]",
            "ServiceMonitor/monitoring/web: spec.namespaceSelector.matchNames[0]",
        ),
        (
            "service: {name: web, namespace: ml, port: 80,",
            "service: {name: web, namespace: ml, port: 443,",
            "ValidatingWebhookConfiguration/models: webhooks[0].clientConfig.service.port",
        ),
    ]);
}

#[test]
fn who_names_a_service_may_reach_it() {
    all_are_caught(&[
        (
            "ports: [{port: 6379, protocol: TCP}]",
            "ports: [{port: 6380, endPort: 6390}]",
            "NetworkPolicy/ml/web: spec.egress",
        ),
        ("[{port: http}]\n    - to", "[{port: grpc}]\n    - to", "NetworkPolicy/ml/web: spec.egress"),
        (
            "{app.kubernetes.io/name: web, app.kubernetes.io/part-of: shop}",
            "{app.kubernetes.io/name: warm}",
            "NetworkPolicy/ml/web: spec.egress",
        ),
        (
            "ports: [{port: 53, protocol: UDP}]",
            "ports: [{port: 53, protocol: TCP}]",
            "NetworkPolicy/ml/web: spec.egress",
        ),
        (
            "ports: [{port: 53, protocol: UDP}]",
            "ports: [{port: 5353, protocol: UDP}]",
            "NetworkPolicy/ml/web: spec.egress[2].to[0]",
        ),
    ]);
}

#[test]
fn references_of_bounds_and_roles_are_followed() {
    all_are_caught(&[
        (
            "kind: Deployment, name: web}",
            "kind: DaemonSet, name: warm}",
            "HorizontalPodAutoscaler/ml/web: spec.scaleTargetRef.kind",
        ),
        (
            "kind: Deployment, name: web}",
            "kind: Deployment, name: wbe}",
            "HorizontalPodAutoscaler/ml/web: spec.scaleTargetRef.name",
        ),
        (
            "kind: Deployment, name: web}",
            "kind: StatefulSet, name: web}",
            "HorizontalPodAutoscaler/ml/web: spec.scaleTargetRef.name",
        ),
        (
            "container: web, target",
            "container: www, target",
            "HorizontalPodAutoscaler/ml/web: spec.metrics[1].containerResource.container",
        ),
        (
            "AlwaysAllow\n  selector: {matchLabels: {app.kubernetes.io/name: web}}",
            "AlwaysAllow\n  selector: {matchLabels: {app.kubernetes.io/name: wbe}}",
            "PodDisruptionBudget/ml/web: spec.selector",
        ),
        ("kind: Role, name: web}", "kind: Role, name: wbe}", "RoleBinding/ml/web: roleRef.name"),
        (
            "kind: ClusterRole, name: view}",
            "kind: ClusterRole, name: viewer}",
            "ClusterRoleBinding/web-view: roleRef.name",
        ),
        (
            "- {kind: ServiceAccount, name: web, namespace: ml}\n",
            "- {kind: ServiceAccount, name: web, namespace: mll}\n",
            "RoleBinding/ml/web: subjects[0].name",
        ),
        (
            "  scaleTargetRef: {kind: StatefulSet, name: shard}",
            "  scaleTargetRef: {name: web}",
            "ScaledObject/ml/warm: spec.scaleTargetRef.name",
        ),
        (
            "authenticationRef: {name: scaler}",
            "authenticationRef: {name: scale}",
            "ScaledObject/ml/warm: spec.triggers[0].authenticationRef.name",
        ),
        (
            "scalerAddress: web.ml.svc:8001",
            "scalerAddress: web.ml.svc:8002",
            "ScaledObject/ml/warm: spec.triggers[0].metadata.scalerAddress",
        ),
        ("minReplicaCount: 1", "minReplicaCount: 5", "ScaledObject/ml/warm: spec.minReplicaCount"),
        (
            "{parameter: token, name: web-token, key: token}",
            "{parameter: token, name: web-token, key: tokens}",
            "TriggerAuthentication/ml/scaler: spec.secretTargetRef[0].key",
        ),
        (
            "secretStoreRef: {kind: SecretStore, name: vault}",
            "secretStoreRef: {kind: ClusterSecretStore, name: vault}",
            "ExternalSecret/ml/token: spec.secretStoreRef.name",
        ),
        (
            "serviceAccountRef: {name: web}",
            "serviceAccountRef: {name: vault}",
            "SecretStore/ml/vault: spec.provider.vault.auth.kubernetes.serviceAccountRef.name",
        ),
        (
            "{type: ConfigMap, name: web-config, key: mode}",
            "{type: ConfigMap, name: web-config, key: ca.crt}",
            "SecretStore/ml/vault: spec.provider.vault.caProvider.key",
        ),
    ]);
}

#[test]
fn references_of_meshes_deployments_and_models_are_followed() {
    all_are_caught(&[
        (
            "subset: stable, port",
            "subset: stabel, port",
            "VirtualService/ml/web: spec.http[0].route[0].destination.subset",
        ),
        (
            "subset: stable, port: {number: 80}",
            "subset: stable, port: {number: 8000}",
            "VirtualService/ml/web: spec.http[0].route[0].destination.port.number",
        ),
        (
            "{host: web.ml.svc.cluster.local, subset: next}",
            "{host: web.prod.svc.cluster.local, subset: next}",
            "VirtualService/ml/web: spec.http[0].route[1].destination.host",
        ),
        ("gateways: [mesh, edge]", "gateways: [mesh, edges]", "VirtualService/ml/web: spec.gateways[1]"),
        ("  host: web.ml.svc.cluster.local\n", "  host: wbe\n", "DestinationRule/ml/web: spec.host"),
        ("{istio: ingressgateway}", "{istio: ingress}", "Gateway/ml/edge: spec.selector"),
        (
            "credentialName: web-tls",
            "credentialName: web-cert",
            "Gateway/ml/edge: spec.servers[0].tls.credentialName",
        ),
        (
            "  selector: {matchLabels: {app.kubernetes.io/name: web}}\n  rules",
            "  selector: {matchLabels: {app: web}}\n  rules",
            "AuthorizationPolicy/ml/web: spec.selector.matchLabels",
        ),
        ("  project: ml\n", "  project: mll\n", "Application/argocd/ml-prod: spec.project"),
        (
            "repoURL: https://git.example.com/ml/web",
            "repoURL: https://git.example.org/ml/web",
            "Application/argocd/ml-prod: spec.source.repoURL",
        ),
        (
            "destination: {name: in-cluster, namespace: ml}",
            "destination: {name: in-cluster, namespace: prod}",
            "Application/argocd/ml-prod: spec.destination.namespace",
        ),
        (
            "destination: {name: in-cluster, namespace: ml}",
            "destination: {name: other, namespace: ml}",
            "Application/argocd/ml-prod: spec.destination.name",
        ),
        (
            "runtime: forebay, model",
            "runtime: forbay, model",
            "InferenceService/ml/digits: spec.predictor.model.runtime",
        ),
        (
            "modelFormat: {name: onnx}",
            "modelFormat: {name: tensorrt}",
            "InferenceService/ml/digits: spec.predictor.model.modelFormat.name",
        ),
        (
            "protocolVersion: v2,",
            "protocolVersion: v1,",
            "InferenceService/ml/digits: spec.predictor.model.protocolVersion",
        ),
        (
            "pvc://models/digits",
            "pvc://model/digits",
            "InferenceService/ml/digits: spec.predictor.model.storageUri",
        ),
    ]);
}

#[test]
fn what_only_one_can_have_and_what_goes_nowhere_is_caught() {
    all_are_caught(&[
        (
            "args: [--config,",
            "args: [--name=$(POD_NAM), --config,",
            "Deployment/ml/web: spec.template.spec.containers[0].args[0]",
        ),
        (
            "{name: PLAIN, value: text}",
            "{name: PLAIN, value: $(LATER)}\n            - {name: LATER, value: x}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[5].value",
        ),
        (
            "  ports: [{name: redis, port: 6379}]",
            "  ports: [{name: redis, port: 6379}]\n---\napiVersion: v1\nkind: Service\nmetadata: {name: np, namespace: ml}\nspec: {type: NodePort, selector: {app.kubernetes.io/name: web}, ports: [{port: 8000, nodePort: 30443}]}",
            "Service/ml/edge: spec.ports[0].nodePort",
        ),
        (
            "apiVersion: batch/v1\nkind: CronJob",
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: zother, namespace: ml}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: c, ports: [{containerPort: 80, hostPort: 7000}]}]}\n---\napiVersion: batch/v1\nkind: CronJob",
            "DaemonSet/ml/zother: spec.template.spec.containers[0].ports[0].hostPort",
        ),
        (
            "{path: /grpc, pathType: Exact,",
            "{path: /v2, pathType: Prefix,",
            "Ingress/ml/web: spec.rules[0].http.paths[1].path",
        ),
        (
            "[{hosts: [web.example.com], secretName",
            "[{hosts: [wbe.example.com], secretName",
            "Ingress/ml/web: spec.tls[0].hosts[0]",
        ),
        (
            "hosts: [web]\n  gateways: [mesh, edge]",
            "hosts: [www.example.org]\n  gateways: [edge]",
            "VirtualService/ml/web: spec.hosts[0]",
        ),
        (
            "{name: next, labels: {app.kubernetes.io/part-of: shop}}",
            "{name: next, labels: {app.kubernetes.io/part-of: shops}}",
            "DestinationRule/ml/web: spec.subsets[1].labels",
        ),
        (
            "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: '{\"auths\": {}}'}",
            "stringData: {a: b}",
            "ServiceAccount/ml/web: imagePullSecrets[0].name",
        ),
        (
            "  clusterIP: None\n  selector: {app.kubernetes.io/name: web-cache}",
            "  selector: {app.kubernetes.io/name: web-cache}",
            "StatefulSet/ml/web-cache: spec.serviceName",
        ),
    ]);
}

#[test]
fn a_name_that_is_nowhere_says_how_to_declare_it() {
    let failures =
        judged("serviceAccountName: web\n      priority", "serviceAccountName: elsewhere\n      priority");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].wrong, "there is no ServiceAccount elsewhere in namespace ml");
    assert!(
        failures[0].right.contains("- {kind: ServiceAccount, name: elsewhere, namespace: ml, why: …}"),
        "{}",
        failures[0].right
    );
    let failures = judged("claimName: models", "claimName: modles");
    assert_eq!(failures[0].right, "models, which is there");
}
