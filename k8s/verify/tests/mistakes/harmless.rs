//! Changes that change nothing, or nothing for the worse: nobody minds them.

use super::GOOD;

#[test]
fn nobody_minds_harmless_changes() {
    let changes = [
        (
            "kind: PriorityClass\nmetadata: {name: serving}",
            "kind: PriorityClass\nmetadata: {name: serving, namespace: ml}",
        ),
        (
            "{name: agent, containerPort: 9000}",
            "{name: agent, containerPort: 9000}\n            - {name: http, containerPort: 9001}",
        ),
        (
            "app.kubernetes.io/part-of: shop\n    spec",
            "app.kubernetes.io/part-of: shop\n        team: ml\n    spec",
        ),
        (
            "app.kubernetes.io/part-of: shop\n    spec",
            "app.kubernetes.io/part-of: \"shop\" # a comment\n    spec",
        ),
        ("{name: http, containerPort: 8000}", "{containerPort: 8000, name: \"http\", protocol: TCP}"),
        ("cpu: 500m, memory: 256Mi", "cpu: 0.5, memory: 268435456"),
        ("cpu: 500m, memory: 256Mi", "cpu: \"1\", memory: 1024Mi"),
        ("memory: 1Gi, nvidia.com/gpu: 1", "memory: 1Gi, nvidia.com/gpu: \"1\""),
        ("{maxSurge: 1, maxUnavailable: 0}", "{maxSurge: 25%, maxUnavailable: 25%}"),
        ("{maxSurge: 1, maxUnavailable: 0}", "{maxSurge: 150%, maxUnavailable: 1}"),
        ("minAvailable: 2", "maxUnavailable: 1"),
        ("minAvailable: 2", "minAvailable: 50%"),
        ("defaultMode: 0440", "defaultMode: 288"),
        ("terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 300"),
        ("httpGet: {path: /v2/health/ready, port: 8000}", "grpc: {port: 8001}"),
        ("httpGet: {path: /v2/health/ready, port: 8000}", "exec: {command: [/usr/bin/forebay, ready]}"),
        ("\"*/30 * * * *\"", "\"@daily\""),
        ("\"*/30 * * * *\"", "\"0 2 * * MON-FRI\""),
        ("verbs: [get, list, patch]", "verbs: [\"*\"]"),
        ("verbs: [get, list, patch]", "verbs: [get, list, patch, sync]"),
        ("externalName: models.example.com", "externalName: models.example.com."),
        ("{type: AverageValue, averageValue: \"4\"}", "{type: AverageValue, averageValue: 4}"),
        ("    - host: web.example.com", "    - host: \"*.example.com\""),
        ("hosts: [web]\n  gateways: [mesh, edge]", "hosts: [web.example.com]\n  gateways: [ml/edge]"),
        ("cidr: 10.0.0.0/8, except: [10.9.0.0/16]", "cidr: \"::/0\", except: [\"fd00::/8\"]"),
        ("image: forebay/serve:0.1.0\n", "image: registry:5000/forebay/serve:0.1.0\n"),
        (
            "image: forebay/serve:0.1.0\n",
            "image: ghcr.io/a/forebay/serve:v1_2.3@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
        ),
        (
            "{name: PLAIN, value: text}",
            "{name: PLAIN, value: \"https://example.com/a?b=http://localhost:80\"}",
        ),
        ("{name: PLAIN, value: text}", "{name: my.env-name, value: \"\"}"),
        ("{name: PLAIN, value: text}", "{name: PLAIN, value: \"$(POD_NAME)\"}"),
        (
            "{name: PLAIN, value: text}",
            "{name: PLAIN, value: \"$$(NOT_ONE) $(hostname) $(WEB_SERVICE_HOST)\"}",
        ),
        // A claim takes the place of a volume of its name.
        (
            "volumeMounts: [{name: data, mountPath: /data}]",
            "volumeMounts: [{name: data, mountPath: /data}]\n      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]",
        ),
        // A port that is told and not said.
        (
            "ports: [{name: redis, containerPort: 6379}]",
            "args: [--port, \"6379\"]\n          ports: [{name: redis, containerPort: 6378}]",
        ),
        ("{drop: [ALL]}\n          volumeMounts", "{drop: [\nALL\n]}\n          volumeMounts"),
        ("ports: [{port: 6379, protocol: TCP}]", "ports: [{port: redis}]"),
        ("ports: [{port: 6379, protocol: TCP}]", "ports: [{port: 6000, endPort: 7000}]"),
        ("fieldPath: metadata.name}}}", "fieldPath: \"metadata.labels['app.kubernetes.io/name']\"}}}"),
        ("key: nvidia.com/gpu, operator: Exists, effect: NoSchedule", "operator: Exists"),
        ("binaryData: {b.bin: AAEC}", "immutable: true"),
        ("  type: ClusterIP\n", ""),
        ("  schedule:", "  suspend: true\n  schedule:"),
        ("storageClassName: fast\n        resources", "storageClassName: \"\"\n        resources"),
        ("enforce-version: latest", "enforce-version: v1.37"),
        ("policyTypes: [Ingress, Egress]", "policyTypes: [Egress, Ingress]"),
        (
            "target: {name: web-token}",
            "target: {name: web-token, template: {mergePolicy: Merge, data: {url: x}}}",
        ),
        (
            "data: [{secretKey: token, remoteRef: {key: ml/web, property: token}}]",
            "dataFrom: [{extract: {key: ml/web}}]",
        ),
    ];
    GOOD.nobody_minds(&changes);
}
