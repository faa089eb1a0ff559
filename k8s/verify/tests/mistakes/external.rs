//! Gates that Kubernetes asks for External metrics: what would leave autoscalers without them, or two who give them.

use super::{GOOD, all_are_caught};

const PORT: &str = "Deployment/told/told-gate: spec.template.spec.containers[0].env[1].value";

#[test]
fn what_would_leave_autoscalers_without_metrics_is_caught() {
    all_are_caught(&[
        // Nobody is told to ask.
        ("\"group\": \"external.metrics.k8s.io\"", "\"group\": \"custom.metrics.k8s.io\"", PORT),
        // It may not read who asks, or has nothing to prove itself by.
        (
            "\"subjects\": [{\"kind\": \"ServiceAccount\", \"name\": \"told-gate\", \"namespace\": \"told\"}]",
            "\"subjects\": []",
            PORT,
        ),
        (
            "\"name\": \"told-gate-reads\", \"namespace\": \"kube-system\"",
            "\"name\": \"told-gate-reads\", \"namespace\": \"told\"",
            PORT,
        ),
        (
            "\"mountPath\": \"/var/run/secrets/kubernetes.io/serviceaccount\"}]",
            "\"mountPath\": \"/elsewhere\"}]",
            PORT,
        ),
        // It is asked at another port, or gives none.
        (
            "\"name\": \"told-gate\", \"namespace\": \"told\", \"port\": 8016",
            "\"name\": \"told-gate\", \"namespace\": \"told\", \"port\": 8000",
            "APIService/v1beta1.external.metrics.k8s.io: spec.service",
        ),
        (
            "{\"name\": \"FOREBAY_EXTERNAL_METRICS_PORT\", \"value\": \"8016\"}",
            "{\"name\": \"FOREBAY_HOLD_REQUESTS\", \"value\": \"9\"}",
            "APIService/v1beta1.external.metrics.k8s.io: spec.service",
        ),
    ]);
}

#[test]
fn two_who_give_external_metrics_are_caught() {
    all_are_caught(&[(
        "\"apiVersion\": \"autoscaling/v2\"\n\"kind\": \"HorizontalPodAutoscaler\"\n\"metadata\": {\"name\": \"told-backend\"",
        "\"apiVersion\": \"keda.sh/v1alpha1\"\n\"kind\": \"ScaledObject\"\n\"metadata\": {\"name\": \"told-backend\"",
        "ScaledObject/told/told-backend: spec",
    )]);
}

#[test]
fn a_gate_that_is_believed_by_a_ca_is_as_good() {
    GOOD.nobody_minds(&[("\"insecureSkipTLSVerify\": true", "\"caBundle\": \"Y2E=\"")]);
}
