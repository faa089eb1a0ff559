//! Flags and variables of our servers, by the program's own parser.

use super::{all_are_caught, forebay};

#[test]
fn settings_that_forebay_refuses_are_caught() {
    // What tests the whole workspace builds it, and so does `cargo xtask verify-k8s`.
    assert!(forebay().is_some(), "`cargo build -p forebay` first");
    all_are_caught(&[
        (
            "\"--drain-secs=12\"",
            "\"--drain-sec=12\"",
            "Deployment/ml/server: spec.template.spec.containers[0].args",
        ),
        (
            "\"--http-port\", \"8000\"",
            "\"--http-port\", \"80000\"",
            "Deployment/ml/server: spec.template.spec.containers[0].args",
        ),
        (
            "name: FOREBAY_MODEL_REPOSITORY",
            "name: FOREBAY_MODELS_REPOSITORY",
            "Deployment/ml/server: spec.template.spec.containers[0].env[0].name",
        ),
        (
            "name: FOREBAY_POOL, value: redis",
            "name: FOREBAY_POOL, value: reddis",
            "Deployment/ml/server: spec.template.spec.containers[0].env[1].value",
        ),
        (
            "value: 32MiB",
            "value: 32MiBs",
            "Deployment/ml/server: spec.template.spec.containers[0].env[3].value",
        ),
        (
            "value: 32MiB}",
            "value: 32MiB}\n            - {name: FOREBAY_RECORD, value: vad}",
            "Deployment/ml/server: spec.template.spec.containers[0].env[4].value",
        ),
        (
            "\"--max-loss=0.5\"",
            "\"--max-loss=500\"",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].args",
        ),
        (
            "\"--max-loss=0.5\"",
            "\"--max-los=0.5\"",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].args",
        ),
        (
            "\"FOREBAY_INTRA_OP_THREADS\"",
            "\"FOREBAY_THREADS\"",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].env[0].name",
        ),
        (
            "            - {name: FOREBAY_REDIS_URL, valueFrom: {secretKeyRef: {name: sealed, key: url}}}\n",
            "",
            "Deployment/ml/server: spec.template.spec.containers[0].env[1].value",
        ),
    ]);
}
