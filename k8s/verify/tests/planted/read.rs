//! YAML as Kubernetes reads it.

use super::all_are_caught;

#[test]
fn what_reads_otherwise_than_it_looks_is_caught() {
    all_are_caught(&[
        (
            "example.com/note: \"any\"",
            "example.com/note: no",
            "Deployment/ml/server: metadata.annotations[example.com/note]",
        ),
        (
            "example.com/note: \"any\"",
            "example.com/note: 0440",
            "Deployment/ml/server: metadata.annotations[example.com/note]",
        ),
        (
            "example.com/note: \"any\"",
            "example.com/note: 1e3",
            "Deployment/ml/server: metadata.annotations[example.com/note]",
        ),
        (
            "value: 32MiB",
            "value: 33554432",
            "Deployment/ml/server: spec.template.spec.containers[0].env[3].value",
        ),
        ("replicas: 3\n", "replicas: 3\n  replicas: 4\n", "Deployment/server: spec.replicas"),
        ("replicas: 3\n", "replicas: \"3\"\n", "Deployment/ml/server: spec.replicas"),
        ("replicas: 3\n", "replicas: 2.5\n", "Deployment/ml/server: spec.replicas"),
        (
            "---\napiVersion: v1\nkind: Service\n",
            "apiVersion: v1\nkind: Service\n",
            "Deployment/server: apiVersion",
        ),
        ("emptyDir: {}", "emptyDir: {\n", "/: "),
        ("      volumes:\n", "\t  volumes:\n", "/: "),
        ("emptyDir: {}", "emptyDir: *nothing", "/: "),
        ("kind: Service\n", "kind:\n", "/ml/server: kind"),
    ]);
}
