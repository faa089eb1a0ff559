//! Backends that go to zero, and the gate that holds what comes then: what would leave requests without an answer, or let a gate do more
//! than it must.

use super::{GOOD, all_are_caught};

const SCALE: &str = "Deployment/ml/held-gate: spec.template.spec.containers[0].env[2].value";

#[test]
fn what_would_leave_requests_unanswered_at_zero_is_caught() {
    all_are_caught(&[
        // Nobody holds.
        (
            "{\"name\": \"FOREBAY_HOLD_FOR\", \"value\": \"http://held-headless:8000\"}",
            "{\"name\": \"FOREBAY_HOLD_REQUESTS\", \"value\": \"9\"}",
            "HorizontalPodAutoscaler/ml/held-backend: spec.minReplicas",
        ),
        // It holds for longer than the route waits.
        ("\"timeout\": \"90s\"", "\"timeout\": \"60s\"", "ConfigMap/ml/held-front: data[envoy.yaml]"),
        (
            "\"cluster\": \"held\", \"timeout\": \"90s\"",
            "\"cluster\": \"held\"",
            "ConfigMap/ml/held-front: data[envoy.yaml]",
        ),
        (
            "{\"name\": \"FOREBAY_HOLD_TIMEOUT_SECS\", \"value\": \"60\"}",
            "{\"name\": \"FOREBAY_HOLD_REQUESTS\", \"value\": \"9\"}",
            "ConfigMap/ml/held-front: data[envoy.yaml]",
        ),
        // Envoy asks the backends alone.
        (
            "\"address\": \"held-gate\"",
            "\"address\": \"held-headless\"",
            "ConfigMap/ml/held-front: data[envoy.yaml]",
        ),
        // It looks for backends, and finds itself, or one address of all.
        (
            "\"clusterIP\": \"None\", \"selector\": {\"part\": \"held-backend\"}",
            "\"clusterIP\": \"None\", \"selector\": {\"part\": \"held-gate\"}",
            "Service/ml/held-headless: spec.selector",
        ),
        (
            "\"clusterIP\": \"None\", \"selector\"",
            "\"selector\"",
            "Deployment/ml/held-gate: spec.template.spec.containers[0].env[0].value",
        ),
    ]);
}

#[test]
fn what_no_gate_may_do_and_what_keeps_one_from_waking_is_caught() {
    all_are_caught(&[
        (
            "\"resources\": [\"deployments/scale\"]",
            "\"resources\": [\"deployments\"]",
            "Role/ml/held-gate: rules[0]",
        ),
        ("\"resourceNames\": [\"held-backend\"], ", "", "Role/ml/held-gate: rules[0]"),
        (
            "\"verbs\": [\"get\", \"patch\"]",
            "\"verbs\": [\"get\", \"patch\", \"update\"]",
            "Role/ml/held-gate: rules[0]",
        ),
        ("\"verbs\": [\"get\", \"patch\"]", "\"verbs\": [\"get\"]", SCALE),
        ("\"resourceNames\": [\"held-backend\"]", "\"resourceNames\": [\"held-front\"]", SCALE),
        (
            "\"subjects\": [{\"kind\": \"ServiceAccount\", \"name\": \"held-gate\"}]",
            "\"subjects\": []",
            SCALE,
        ),
        (
            "/var/run/secrets/kubernetes.io/serviceaccount\", \"readOnly\"",
            "/var/run/elsewhere\", \"readOnly\"",
            SCALE,
        ),
    ]);
}

#[test]
fn two_who_say_how_many_there_are_is_caught() {
    all_are_caught(&[
        (
            "\"spec\":\n  \"selector\": {\"matchLabels\": {\"part\": \"held-backend\"}}",
            "\"spec\":\n  \"replicas\": 2\n  \"selector\": {\"matchLabels\": {\"part\": \"held-backend\"}}",
            "Deployment/ml/held-backend: spec.replicas",
        ),
        (
            "\"kind\": \"ServiceAccount\"\n\"metadata\": {\"name\": \"held-gate\", \"namespace\": \"ml\"}",
            "\"kind\": \"ServiceAccount\"\n\"metadata\": {\"name\": \"held-gate\", \"namespace\": \"ml\"}\n---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: held, namespace: ml}\nspec: {scaleTargetRef: {name: held-backend}, triggers: [{type: cron, metadata: {timezone: UTC, start: 0 6 * * *, end: 0 20 * * *, desiredReplicas: \"1\"}}]}",
            "ScaledObject/ml/held: spec.scaleTargetRef.name",
        ),
    ]);
}

#[test]
fn nobody_minds_what_waits_or_never_goes_to_zero() {
    GOOD.nobody_minds(&[
        ("\"timeout\": \"90s\"", "\"timeout\": \"0s\""),
        ("\"timeout\": \"90s\"", "\"timeout\": \"60.5s\""),
        ("\"minReplicas\": 0", "\"minReplicas\": 1"),
        ("\"automountServiceAccountToken\": false", "\"automountServiceAccountToken\": true"),
        ("\"priority\": 1, ", ""),
    ]);
}

#[test]
fn routes_of_istio_that_send_again_what_may_have_begun_are_caught() {
    const RETRIES: &str =
        r#"retries: {attempts: 1, retryOn: "connect-failure,refused-stream,reset-before-request"}"#;
    all_are_caught(&[(RETRIES, "timeout: 60s", "VirtualService/ml/answers: spec.http[0]")]);
    GOOD.nobody_minds(&[(RETRIES, "retries: {attempts: 0}")]);
}
