//! Mistakes in pods: what an API server refuses beyond schemas, or what never starts.

use super::all_are_caught;

#[test]
fn mistakes_in_containers_are_caught() {
    all_are_caught(&[
        (
            "- name: web\n          image: forebay",
            "- name: Web_1\n          image: forebay",
            "Deployment/ml/web: spec.template.spec.containers[0].name",
        ),
        (
            "- name: agent\n          restart",
            "- name: web\n          restart",
            "Deployment/ml/web: spec.template.spec.initContainers[1].name",
        ),
        (
            "image: forebay/serve:0.1.0\n",
            "image: \"forebay/serve:\"\n",
            "Deployment/ml/web: spec.template.spec.containers[0].image",
        ),
        (
            "image: forebay/serve:0.1.0\n",
            "image: Forebay/serve\n",
            "Deployment/ml/web: spec.template.spec.containers[0].image",
        ),
        (
            "image: forebay/serve:0.1.0\n",
            "image: \"forebay/serve:0.1.0 \"\n",
            "Deployment/ml/web: spec.template.spec.containers[0].image",
        ),
        (
            "abcdef0123456789abcdef\n",
            "abcdef0123456789abcde\n",
            "Deployment/ml/web: spec.template.spec.initContainers[0].image",
        ),
        (
            "imagePullPolicy: IfNotPresent",
            "imagePullPolicy: ifNotPresent",
            "Deployment/ml/web: spec.template.spec.containers[0].imagePullPolicy",
        ),
        (
            "{name: PLAIN, value: text}",
            "{name: \"A=B\", value: text}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[5].name",
        ),
        (
            "{name: PLAIN, value: text}",
            "{name: POD_NAME, value: text}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[5].name",
        ),
        (
            "{name: POD_NAME, valueFrom:",
            "{name: POD_NAME, value: x, valueFrom:",
            "Deployment/ml/web: spec.template.spec.containers[0].env[3].valueFrom",
        ),
        (
            "fieldPath: metadata.name}}}",
            "fieldPath: spec.containers}}}",
            "Deployment/ml/web: spec.template.spec.containers[0].env[3].valueFrom.fieldRef.fieldPath",
        ),
        (
            "resource: limits.cpu",
            "resource: limit.cpu",
            "Deployment/ml/web: spec.template.spec.containers[0].env[4].valueFrom.resourceFieldRef.resource",
        ),
        (
            "configMapRef: {name: web-config}",
            "configMapRef: {name: web-config}\n              secretRef: {name: pull}",
            "Deployment/ml/web: spec.template.spec.containers[0].envFrom[0]",
        ),
        (
            "preStop: {sleep: {seconds: 5}}",
            "preStop: {sleep: {seconds: 41}}",
            "Deployment/ml/web: spec.template.spec.containers[0].lifecycle.preStop.sleep.seconds",
        ),
        (
            "preStop: {sleep: {seconds: 5}}",
            "preStop: {sleep: {seconds: 5}, exec: {command: [x]}}",
            "Deployment/ml/web: spec.template.spec.containers[0].lifecycle.preStop",
        ),
        (
            "preStop: {sleep: {seconds: 5}}",
            "preStop: {}",
            "Deployment/ml/web: spec.template.spec.containers[0].lifecycle.preStop",
        ),
        (
            "- name: agent\n          restartPolicy: Always\n",
            "- name: agent\n",
            "Deployment/ml/web: spec.template.spec.initContainers[1].startupProbe",
        ),
        (
            "        - name: web\n          image: forebay",
            "        - image: forebay",
            "Deployment/ml/web: spec.template.spec.containers[0].name",
        ),
    ]);
}

#[test]
fn mistakes_in_ports_and_probes_are_caught() {
    all_are_caught(&[
        (
            "{name: http, containerPort: 8000}",
            "{name: http, containerPort: 80000}",
            "Deployment/ml/web: spec.template.spec.containers[0].ports[0].containerPort",
        ),
        (
            "{name: http, containerPort: 8000}",
            "{name: http-of-the-server, containerPort: 8000}",
            "Deployment/ml/web: spec.template.spec.containers[0].ports[0].name",
        ),
        (
            "{name: grpc, containerPort: 8001}",
            "{name: http, containerPort: 8001}",
            "Deployment/ml/web: spec.template.spec.containers[0].ports[1].name",
        ),
        (
            "{name: grpc, containerPort: 8001}",
            "{name: grpc, containerPort: 8001, protocol: tcp}",
            "Deployment/ml/web: spec.template.spec.containers[0].ports[1].protocol",
        ),
        (
            "{name: grpc, containerPort: 8001}",
            "{name: grpc, containerPort: 8001, hostPort: 18002}",
            "Deployment/ml/web: spec.template.spec.containers[0].ports[2].hostPort",
        ),
        (
            "{name: grpc, containerPort: 8001}",
            "{name: \"8001\", containerPort: 8001}",
            "Deployment/ml/web: spec.template.spec.containers[0].ports[1].name",
        ),
        (
            "{name: agent, containerPort: 9000}",
            "{name: agent, containerPort: 8001}",
            "Deployment/ml/web: spec.template.spec.initContainers[1].ports[0].containerPort",
        ),
        (
            "containerPort: 7000, hostPort: 7000",
            "containerPort: 7000, hostPort: 7001",
            "DaemonSet/ml/warm: spec.template.spec.containers[0].ports[0].hostPort",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: http}",
            "httpGet: {path: /v2/health/ready, port: web}",
            "Deployment/ml/web: spec.template.spec.containers[0].startupProbe.httpGet.port",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: 8000}",
            "httpGet: {path: /v2/health/ready, port: 8080}",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe.httpGet.port",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: 8000}",
            "httpGet: {path: /v2/health/ready, port: \"8000\"}",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe.httpGet.port",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: 8000}",
            "httpGet: {path: /v2/health/ready}",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe.httpGet.port",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: 8000}",
            "httpGet: {path: v2/health/ready, port: 8000}",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe.httpGet.path",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: 8000}",
            "httpGet: {port: 8000, scheme: https}",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe.httpGet.scheme",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: 8000}",
            "httpGet: {port: 8000}\n            grpc: {port: 8001}",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe",
        ),
        (
            "            httpGet: {path: /v2/health/ready, port: 8000}\n",
            "",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe",
        ),
        (
            "timeoutSeconds: 2\n",
            "timeoutSeconds: 0\n",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe.timeoutSeconds",
        ),
        (
            "timeoutSeconds: 2\n",
            "terminationGracePeriodSeconds: 2\n",
            "Deployment/ml/web: spec.template.spec.containers[0].readinessProbe.terminationGracePeriodSeconds",
        ),
        (
            "successThreshold: 1\n",
            "successThreshold: 2\n",
            "Deployment/ml/web: spec.template.spec.containers[0].livenessProbe.successThreshold",
        ),
        (
            "successThreshold: 1\n",
            "terminationGracePeriodSeconds: 0\n",
            "Deployment/ml/web: spec.template.spec.containers[0].livenessProbe.terminationGracePeriodSeconds",
        ),
        (
            "{name: X-Probe, value: \"1\"}",
            "{name: \"X Probe\", value: \"1\"}",
            "Deployment/ml/web: spec.template.spec.containers[0].livenessProbe.httpGet.httpHeaders[0].name",
        ),
        (
            "periodSeconds: 2\n",
            "periodSeconds: -2\n",
            "Deployment/ml/web: spec.template.spec.containers[0].startupProbe.periodSeconds",
        ),
    ]);
}

#[test]
fn mistakes_in_amounts_are_caught() {
    all_are_caught(&[
        (
            "cpu: 500m, memory: 256Mi",
            "cpu: 500m, memory: 256m",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests.memory",
        ),
        (
            "cpu: 500m, memory: 256Mi",
            "cpu: 500m, memory: 256MB",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests.memory",
        ),
        (
            "cpu: 500m, memory: 256Mi",
            "cpu: 500m, memory: 2Gi",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests.memory",
        ),
        (
            "cpu: 500m, memory: 256Mi",
            "cpu: 1500m, memory: 256Mi",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests.cpu",
        ),
        (
            "cpu: 500m, memory: 256Mi",
            "cpu: -1, memory: 256Mi",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests.cpu",
        ),
        (
            "cpu: 500m, memory: 256Mi",
            "cpus: 500m, memory: 256Mi",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests.cpus",
        ),
        (
            "memory: 1Gi, nvidia.com/gpu: 1",
            "memory: 1Gi, nvidia.com/gpu: 2",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests[nvidia.com/gpu]",
        ),
        (
            "memory: 1Gi, nvidia.com/gpu: 1",
            "memory: 1Gi",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.requests[nvidia.com/gpu]",
        ),
        (
            "memory: 1Gi, nvidia.com/gpu: 1",
            "memory: 1Gi, nvidia.com/gpu: 500m",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]",
        ),
        (
            "memory: 1Gi, nvidia.com/gpu: 1",
            "memory: 1Gi, nvidia.com/gpu: 1, hugepages-2Mi: 3Mi",
            "Deployment/ml/web: spec.template.spec.containers[0].resources.limits.hugepages-2Mi",
        ),
        (
            "sizeLimit: 64Mi",
            "sizeLimit: 64 Mi",
            "Deployment/ml/web: spec.template.spec.volumes[2].emptyDir.sizeLimit",
        ),
    ]);
}

#[test]
fn mistakes_in_volumes_are_caught() {
    all_are_caught(&[
        (
            "{name: scratch, mountPath: /tmp}",
            "{name: scrach, mountPath: /tmp}",
            "Deployment/ml/web: spec.template.spec.containers[0].volumeMounts[3].name",
        ),
        (
            "{name: scratch, mountPath: /tmp}",
            "{name: scratch, mountPath: /etc/web/}",
            "Deployment/ml/web: spec.template.spec.containers[0].volumeMounts[3].mountPath",
        ),
        (
            "{name: scratch, mountPath: /tmp}",
            "{name: scratch, mountPath: tmp}",
            "Deployment/ml/web: spec.template.spec.containers[0].volumeMounts[3].mountPath",
        ),
        (
            "subPath: live}",
            "subPath: ../live}",
            "Deployment/ml/web: spec.template.spec.containers[0].volumeMounts[0].subPath",
        ),
        (
            "subPath: live}",
            "subPath: live, subPathExpr: $(POD_NAME)}",
            "Deployment/ml/web: spec.template.spec.containers[0].volumeMounts[0].subPathExpr",
        ),
        (
            "- {name: scratch, emptyDir:",
            "- {name: config, emptyDir:",
            "Deployment/ml/web: spec.template.spec.volumes[2].name",
        ),
        (
            "{name: scratch, emptyDir: {medium: Memory, sizeLimit: 64Mi}}",
            "{name: scratch, emptyDir: {}, hostPath: {path: /tmp}}",
            "Deployment/ml/web: spec.template.spec.volumes[2]",
        ),
        (
            "medium: Memory",
            "medium: memory",
            "Deployment/ml/web: spec.template.spec.volumes[2].emptyDir.medium",
        ),
        (
            "defaultMode: 0440",
            "defaultMode: 4400",
            "Deployment/ml/web: spec.template.spec.volumes[1].configMap.defaultMode",
        ),
        (
            "items: [{key: web.yaml, path: web.yaml}]",
            "items: [{key: web.yaml, path: /web.yaml}]",
            "Deployment/ml/web: spec.template.spec.volumes[1].configMap.items[0].path",
        ),
        (
            "expirationSeconds: 3600",
            "expirationSeconds: 60",
            "Deployment/ml/web: spec.template.spec.volumes[3].projected.sources[1].serviceAccountToken.expirationSeconds",
        ),
        (
            "items: [{key: ca.crt, path: ca.crt}]",
            "items: [{key: ca.crt, path: token}]",
            "Deployment/ml/web: spec.template.spec.volumes[3].projected.sources[2].configMap.items[0].path",
        ),
        (
            "fieldPath: metadata.labels}",
            "fieldPath: status.podIP}",
            "Deployment/ml/web: spec.template.spec.volumes[3].projected.sources[3].downwardAPI.items[0].fieldRef.fieldPath",
        ),
        (
            "type: DirectoryOrCreate",
            "type: Folder",
            "DaemonSet/ml/warm: spec.template.spec.volumes[0].hostPath.type",
        ),
    ]);
}

#[test]
fn mistakes_in_scheduling_are_caught() {
    all_are_caught(&[
        (
            "operator: Exists, effect: NoSchedule",
            "operator: Exists, value: x, effect: NoSchedule",
            "Deployment/ml/web: spec.template.spec.tolerations[0].value",
        ),
        (
            "operator: Exists, effect: NoSchedule",
            "operator: In, effect: NoSchedule",
            "Deployment/ml/web: spec.template.spec.tolerations[0].operator",
        ),
        (
            "operator: Exists, effect: NoSchedule",
            "operator: Exists, effect: Noschedule",
            "Deployment/ml/web: spec.template.spec.tolerations[0].effect",
        ),
        (
            "effect: NoExecute, tolerationSeconds",
            "effect: NoSchedule, tolerationSeconds",
            "Deployment/ml/web: spec.template.spec.tolerations[1].tolerationSeconds",
        ),
        (
            "{key: nvidia.com/gpu, operator: Exists,",
            "{operator: Equal, value: x,",
            "Deployment/ml/web: spec.template.spec.tolerations[0].operator",
        ),
        (
            "{kubernetes.io/os: linux}",
            "{kubernetes.io/os: \"linux arm\"}",
            "Deployment/ml/web: spec.template.spec.nodeSelector[kubernetes.io/os]",
        ),
        (
            "operator: Gt, values: [\"1\"]",
            "operator: Gt, values: [\"many\"]",
            "Deployment/ml/web: spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values",
        ),
        (
            "operator: Gt, values: [\"1\"]",
            "operator: Exists, values: [\"1\"]",
            "Deployment/ml/web: spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values",
        ),
        (
            "weight: 50",
            "weight: 101",
            "Deployment/ml/web: spec.template.spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
        ),
        (
            "topologyKey: kubernetes.io/hostname\n",
            "",
            "Deployment/ml/web: spec.template.spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey",
        ),
        (
            "maxSkew: 1",
            "maxSkew: 0",
            "Deployment/ml/web: spec.template.spec.topologySpreadConstraints[0].maxSkew",
        ),
        (
            "whenUnsatisfiable: DoNotSchedule",
            "whenUnsatisfiable: ScheduleAnyway",
            "Deployment/ml/web: spec.template.spec.topologySpreadConstraints[0].minDomains",
        ),
        (
            "whenUnsatisfiable: DoNotSchedule",
            "whenUnsatisfiable: Never",
            "Deployment/ml/web: spec.template.spec.topologySpreadConstraints[0].whenUnsatisfiable",
        ),
        (
            "matchLabelKeys: [pod-template-hash]",
            "matchLabelKeys: [app.kubernetes.io/name]",
            "Deployment/ml/web: spec.template.spec.topologySpreadConstraints[0].matchLabelKeys[0]",
        ),
        (
            "matchLabelKeys: [pod-template-hash]\n          labelSelector: {matchLabels: {app.kubernetes.io/name: web}}",
            "labelSelector: {matchLabels: {app.kubernetes.io/name: wbe}}",
            "Deployment/ml/web: spec.template.spec.topologySpreadConstraints[0].labelSelector",
        ),
    ]);
}

#[test]
fn mistakes_with_our_own_images_are_caught() {
    all_are_caught(&[
        (
            "preStop: {sleep: {seconds: 5}}",
            "preStop: {exec: {command: [sh, -c, sleep 5]}}",
            "Deployment/ml/web: spec.template.spec.containers[0].lifecycle.preStop.exec.command[0]",
        ),
        (
            "image: forebay/serve:0.1.0\n",
            "image: forebay/server:0.1.0\n",
            "Deployment/ml/web: spec.template.spec.containers[0].image",
        ),
        (
            "httpGet: {path: /v2/health/ready, port: http}",
            "httpGet: {path: /v2/health/redy, port: http}",
            "Deployment/ml/web: spec.template.spec.containers[0].startupProbe.httpGet.path",
        ),
        (
            "path: /v2/health/live, port",
            "path: /v2/health/ready, port",
            "Deployment/ml/web: spec.template.spec.containers[0].livenessProbe.httpGet.path",
        ),
        (
            "failureThreshold: 90",
            "failureThreshold: 3",
            "Deployment/ml/web: spec.template.spec.containers[0].startupProbe",
        ),
        (
            "startupProbe:\n            httpGet: {path: /v2/health/ready, port: http}\n            periodSeconds: 2\n            failureThreshold: 90\n          readinessProbe",
            "readinessProbe",
            "Deployment/ml/web: spec.template.spec.containers[0].startupProbe",
        ),
    ]);
}

#[test]
fn words_that_are_almost_right_are_caught() {
    all_are_caught(&[
        (
            "topologyKey: topology.kubernetes.io/zone",
            "topologyKey: topology.kuberntes.io/zone",
            "Deployment/ml/web: spec.template.spec.topologySpreadConstraints[0].topologyKey",
        ),
        (
            "key: node.kubernetes.io/not-ready",
            "key: node.kubernetes.io/notready",
            "Deployment/ml/web: spec.template.spec.tolerations[1].key",
        ),
        (
            "{kubernetes.io/os: linux}",
            "{kubernetes.io/so: linux}",
            "Deployment/ml/web: spec.template.spec.nodeSelector[kubernetes.io/so]",
        ),
        (
            "matchLabelKeys: [pod-template-hash]",
            "matchLabelKeys: [pod-template-hsah]",
            "Deployment/ml/web: spec.template.spec.topologySpreadConstraints[0].matchLabelKeys[0]",
        ),
        (
            "capabilities: {drop: [ALL]}",
            "capabilities: {drop: [ALLL]}",
            "Deployment/ml/web: spec.template.spec.containers[0].securityContext.capabilities.drop[0]",
        ),
        (
            "appProtocol: kubernetes.io/h2c",
            "appProtocol: kubernetes.io/hc2",
            "Service/ml/web: spec.ports[0].appProtocol",
        ),
        (
            "{name: scratch, emptyDir: {medium: Memory, sizeLimit: 64Mi}}",
            "{name: scratch}",
            "Deployment/ml/web: spec.template.spec.volumes[2]",
        ),
    ]);
}

#[test]
fn mistakes_in_what_a_pod_may_do_are_caught() {
    all_are_caught(&[
        (
            "allowPrivilegeEscalation: false",
            "allowPrivilegeEscalation: false\n            privileged: true",
            "Deployment/ml/web: spec.template.spec.containers[0].securityContext.allowPrivilegeEscalation",
        ),
        (
            "runAsUser: 65532, fsGroup",
            "runAsUser: 0, fsGroup",
            "Deployment/ml/web: spec.template.spec.securityContext.runAsUser",
        ),
        (
            "runAsUser: 65532, fsGroup",
            "runAsUser: -1, fsGroup",
            "Deployment/ml/web: spec.template.spec.securityContext.runAsUser",
        ),
        (
            "seccompProfile: {type: RuntimeDefault}",
            "seccompProfile: {type: Default}",
            "Deployment/ml/web: spec.template.spec.securityContext.seccompProfile.type",
        ),
        (
            "seccompProfile: {type: RuntimeDefault}",
            "seccompProfile: {type: Localhost}",
            "Deployment/ml/web: spec.template.spec.securityContext.seccompProfile.localhostProfile",
        ),
        (
            "capabilities: {drop: [ALL]}",
            "capabilities: {drop: [CAP_NET_RAW]}",
            "Deployment/ml/web: spec.template.spec.containers[0].securityContext.capabilities.drop[0]",
        ),
        (
            "dnsPolicy: ClusterFirst\n",
            "dnsPolicy: None\n",
            "Deployment/ml/web: spec.template.spec.dnsConfig.nameservers",
        ),
        (
            "dnsPolicy: ClusterFirstWithHostNet",
            "dnsPolicy: ClusterFirst",
            "DaemonSet/ml/warm: spec.template.spec.dnsPolicy",
        ),
        ("{ip: 10.0.0.7,", "{ip: 10.0.0.700,", "Deployment/ml/web: spec.template.spec.hostAliases[0].ip"),
        (
            "serviceAccountName: web\n      priority",
            "serviceAccountName: Web\n      priority",
            "Deployment/ml/web: spec.template.spec.serviceAccountName",
        ),
        (
            "terminationGracePeriodSeconds: 40",
            "terminationGracePeriodSeconds: -1",
            "Deployment/ml/web: spec.template.spec.terminationGracePeriodSeconds",
        ),
    ]);
}
