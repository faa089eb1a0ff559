//! Secrets in plain text, and pods that `restricted` refuses.

use super::all_are_caught;

#[test]
fn secrets_in_plain_text_are_caught() {
    all_are_caught(&[
        (
            "{name: API_TOKEN, valueFrom: {secretKeyRef: {name: sealed, key: token}}}",
            "{name: API_TOKEN, value: s3cr3t-enough}",
            "Deployment/ml/server: spec.template.spec.containers[0].env[4].value",
        ),
        (
            "example.com/note: \"any\"",
            "example.com/note: \"redis://:hunter2@redis:6379\"",
            "Deployment/ml/server: metadata.annotations[example.com/note]",
        ),
        (
            "example.com/note: \"any\"",
            "example.com/note: \"hvs.CAESIJabcdefghijklmnopqrstuvwx\"",
            "Deployment/ml/server: metadata.annotations[example.com/note]",
        ),
        (
            "data:\n  board.json",
            "data:\n  id: AKIAIOSFODNN7EXAMPLE\n  board.json",
            "ConfigMap/ml/board: data.id",
        ),
        (
            "# Our own server, beside another program.",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ml}\nstringData: {password: hunter2}\n---",
            "Secret/ml/s: stringData.password",
        ),
        (
            "# Our own server, beside another program.",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ml}\ndata: {password: aHVudGVyMg==}\n---",
            "Secret/ml/s: data.password",
        ),
    ]);
}

#[test]
fn pods_that_pod_security_refuses_are_caught() {
    all_are_caught(&[
        (
            "allowPrivilegeEscalation: false",
            "allowPrivilegeEscalation: true",
            "Deployment/ml/server: spec.template.spec.containers[0].securityContext.allowPrivilegeEscalation",
        ),
        (
            "allowPrivilegeEscalation: false",
            "privileged: true, allowPrivilegeEscalation: false",
            "Deployment/ml/server: spec.template.spec.containers[0].securityContext.privileged",
        ),
        (
            "{drop: [ALL]}",
            "{drop: [NET_RAW]}",
            "Deployment/ml/server: spec.template.spec.containers[0].securityContext.capabilities.drop",
        ),
        (
            "{drop: [ALL]}",
            "{drop: [ALL], add: [SYS_PTRACE]}",
            "Deployment/ml/server: spec.template.spec.containers[0].securityContext.capabilities.add[0]",
        ),
        (
            "runAsNonRoot: true, ",
            "",
            "Deployment/ml/server: spec.template.spec.containers[0].securityContext.runAsNonRoot",
        ),
        (
            "runAsUser: 65532",
            "runAsUser: 0",
            "Deployment/ml/server: spec.template.spec.securityContext.runAsUser",
        ),
        (
            "seccompProfile: {type: RuntimeDefault}",
            "seccompProfile: {type: Unconfined}",
            "Deployment/ml/server: spec.template.spec.securityContext.seccompProfile.type",
        ),
        (
            ", seccompProfile: {type: RuntimeDefault}",
            "",
            "Deployment/ml/server: spec.template.spec.containers[0].securityContext.seccompProfile",
        ),
        (
            "serviceAccountName: server",
            "hostNetwork: true",
            "Deployment/ml/server: spec.template.spec.hostNetwork",
        ),
        (
            "emptyDir: {}",
            "hostPath: {path: /srv}",
            "Deployment/ml/server: spec.template.spec.volumes[0].hostPath",
        ),
        (
            "containerPort: 8000}",
            "containerPort: 8000, hostPort: 8000}",
            "Deployment/ml/server: spec.template.spec.containers[0].ports[0].hostPort",
        ),
        (
            "emptyDir: {}",
            "nfs: {server: s, path: /}",
            "Deployment/ml/server: spec.template.spec.volumes[0].nfs",
        ),
    ]);
}
