//! Jobs of `forebay optimize` that could not do what they are for, the files of keys, and rollouts that could not be warm.

use super::{GOOD, all_are_caught};

#[test]
fn jobs_that_could_not_make_a_model_lighter_are_caught() {
    all_are_caught(&[
        (
            "\"mountPath\": \"/repository\", ",
            "\"mountPath\": \"/repository\", \"readOnly\": true, ",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].volumeMounts[0].readOnly",
        ),
        (
            "\"lighter-models\"",
            "\"lighter-models\", \"readOnly\": true",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.volumes[0]",
        ),
        (
            "\"/repository/vad\"",
            "\"/models/vad\"",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].args[0]",
        ),
        (
            "      \"activeDeadlineSeconds\": 1800\n",
            "",
            "CronJob/ml/lighter: spec.jobTemplate.spec.activeDeadlineSeconds",
        ),
        (
            "registry.example.com/forebay/optimize:",
            "registry.example.com/forebay/optimizer:",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].image",
        ),
        (
            "forebay/optimize:0.1.0\"\n              \"args\": [",
            "forebay/serve:0.1.0\"\n              \"command\": [/usr/bin/forebay]\n              \"args\": [\"optimize\", ",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].image",
        ),
        (
            "- {\"name\": \"work\", \"mountPath\": \"/work\"}",
            "- {\"name\": \"work\", \"mountPath\": \"/works\"}",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].volumeMounts",
        ),
        (
            "\"secret\": {\"secretName\": \"lighter-key\"}",
            "\"configMap\": {\"name\": \"web-config\"}",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].args[2]",
        ),
        (
            "\"secret\": {\"secretName\": \"lighter-key\"}",
            "\"projected\": {\"sources\": [{\"configMap\": {\"name\": \"web-config\", \"items\": [{\"key\": \"a\", \"path\": \"record-key\"}]}}]}",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].args[2]",
        ),
        (
            "--data-key-file=/key/",
            "--data-key-file=/keys/",
            "CronJob/ml/lighter: spec.jobTemplate.spec.template.spec.containers[0].args[2]",
        ),
    ]);
}

#[test]
fn nobody_minds_other_jobs_that_could() {
    GOOD.nobody_minds(&[
        // What reads alone may.
        (
            "\"mountPath\": \"/repository\", \"subPath\": \"models\"}",
            "\"mountPath\": \"/repository\", \"readOnly\": true}\n                - {\"name\": \"repository\", \"mountPath\": \"/repository/vad\"}",
        ),
        ("\"--max-loss=0.5\"", "\"--max-loss=0.5\", \"--dry-run\""),
        ("{\"name\": \"repository\", \"mountPath\"", "{\"readOnly\": false, \"name\": \"repository\", \"mountPath\""),
        (
            "forebay/optimize:0.1.0\"\n              \"args\": [",
            "forebay/optimize:0.1.0\"\n              \"command\": [/usr/bin/forebay, optimize]\n              \"args\": [",
        ),
        ("\"mountPath\": \"/work\"}", "\"mountPath\": \"/work/\", \"subPath\": \"lighter\"}"),
        (
            "\"secret\": {\"secretName\": \"lighter-key\"}",
            "\"projected\": {\"sources\": [{\"secret\": {\"name\": \"lighter-key\"}}]}",
        ),
        ("\"--data-key-file=/key/record-key\"", "\"--labels=speech\""),
    ]);
}

#[test]
fn rollouts_that_could_not_be_warm_are_caught() {
    all_are_caught(&[
        (
            "\"warm-records\", \"persistentVolumeClaim\": {\"claimName\": \"lighter-records\"}",
            "\"warm-records\", \"emptyDir\": {}",
            "Deployment/ml/warm: spec.template.spec.containers[0].env[0].value",
        ),
        (
            "--replay-within=299",
            "--replay-within=5m",
            "Deployment/ml/warm: spec.template.spec.containers[0].args[0]",
        ),
        (
            "\"warm-http\"}, \"failureThreshold\": 30",
            "\"warm-http\"}, \"failureThreshold\": 29",
            "Deployment/ml/warm: spec.template.spec.containers[0].args[0]",
        ),
    ]);
    GOOD.nobody_minds(&[
        ("--replay-within=299", "--replay-within=4m"),
        ("--replay-within=299", "--replay-share=1"),
    ]);
}
