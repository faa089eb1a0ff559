//! KEDA: what its scalers ask for, and bounds that fit each other.

use std::sync::LazyLock;

use regex::Regex;

use crate::failure::Failure;
use crate::object::Object;
use crate::rules::autoscaling;
use crate::rules::field::Field;
use crate::schema::nearest;
use crate::world::World;

/// Scalers, each with what its `metadata` must have; one of the words between `|`.
const SCALERS: &[(&str, &[&str])] = &[
    ("activemq", &[]),
    ("apache-kafka", &[]),
    ("arangodb", &[]),
    ("artemis-queue", &[]),
    ("aws-cloudwatch", &[]),
    ("aws-dynamodb", &[]),
    ("aws-dynamodb-streams", &[]),
    ("aws-kinesis-stream", &[]),
    ("aws-sqs-queue", &[]),
    ("azure-app-insights", &[]),
    ("azure-blob", &[]),
    ("azure-data-explorer", &[]),
    ("azure-eventhub", &[]),
    ("azure-log-analytics", &[]),
    ("azure-monitor", &[]),
    ("azure-pipelines", &[]),
    ("azure-queue", &[]),
    ("azure-servicebus", &[]),
    ("beanstalkd", &[]),
    ("cassandra", &[]),
    ("couchdb", &[]),
    ("cpu", &["value"]),
    ("cron", &["timezone", "start", "end", "desiredReplicas"]),
    ("datadog", &[]),
    ("dynatrace", &[]),
    ("elasticsearch", &[]),
    ("etcd", &[]),
    ("external", &["scalerAddress"]),
    ("external-push", &["scalerAddress"]),
    ("forgejo-runner", &[]),
    ("gcp-cloudtasks", &[]),
    ("gcp-pubsub", &[]),
    ("gcp-stackdriver", &[]),
    ("gcp-storage", &[]),
    ("github-runner", &[]),
    ("graphite", &[]),
    ("huawei-cloudeye", &[]),
    ("ibmmq", &[]),
    ("influxdb", &[]),
    ("kafka", &[]),
    ("kubernetes-resource", &[]),
    ("kubernetes-workload", &["podSelector", "value"]),
    ("liiklus", &[]),
    ("loki", &[]),
    ("memory", &["value"]),
    ("metrics-api", &["url", "valueLocation"]),
    ("mongodb", &[]),
    ("mssql", &[]),
    ("mysql", &[]),
    ("nats-jetstream", &[]),
    ("new-relic", &[]),
    ("nsq", &[]),
    ("openstack-metric", &[]),
    ("openstack-swift", &[]),
    ("postgresql", &[]),
    ("predictkube", &[]),
    ("prometheus", &["serverAddress", "query", "threshold"]),
    ("pulsar", &[]),
    ("rabbitmq", &[]),
    ("redis", &[]),
    ("redis-cluster", &[]),
    ("redis-cluster-streams", &[]),
    ("redis-sentinel", &[]),
    ("redis-sentinel-streams", &[]),
    ("redis-streams", &[]),
    ("selenium-grid", &[]),
    ("solace-event-queue", &[]),
    ("solarwinds", &[]),
    ("solr", &[]),
    ("splunk", &[]),
    ("splunk-observability", &[]),
    ("stan", &[]),
    ("sumologic", &[]),
    ("temporal", &[]),
];

/// What Prometheus' scaler reads.
const PROMETHEUS: &[&str] = &[
    "activationThreshold",
    "allowedScalerFailure",
    "authModes",
    "awsRegion",
    "cortexOrgID",
    "credentialsFromEnv",
    "customHeaders",
    "ignoreNullValues",
    "identityOwner",
    "metricName",
    "namespace",
    "predictKubeAccount",
    "query",
    "queryParameters",
    "serverAddress",
    "threshold",
    "timeout",
    "unsafeSsl",
];

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in world.of("keda.sh", "ScaledObject") {
        bounds(object, failures);
        advanced(object, failures);
        triggers(object, failures);
    }
    for object in world.of("keda.sh", "ScaledJob") {
        triggers(object, failures);
    }
}

fn bounds(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let least = spec.at("minReplicaCount").number().unwrap_or(0);
    let most = spec.at("maxReplicaCount").number().unwrap_or(100);
    if least > most {
        spec.at("minReplicaCount").fail(
            failures,
            format!("{least} is above maxReplicaCount of {most}"),
            "at most maxReplicaCount",
        );
    }
    if let Some(idle) = spec.at("idleReplicaCount").number().filter(|idle| *idle >= least) {
        let right = "below minReplicaCount; 0 is the only one that KEDA supports";
        spec.at("idleReplicaCount").fail(
            failures,
            format!("{idle} is not below minReplicaCount of {least}"),
            right,
        );
    }
    let triggers = spec.at("triggers").list();
    let only = |kinds: &[&str]| {
        !triggers.is_empty()
            && triggers.iter().all(|one| one.at("type").text().is_some_and(|kind| kinds.contains(&kind)))
    };
    if only(&["cpu", "memory"]) && spec.at("minReplicaCount").number() == Some(0) {
        let right = "1 or more: cpu and memory of no pod are nothing to start by";
        spec.at("minReplicaCount").fail(failures, "never comes back from 0 by cpu or memory alone", right);
    }
    let fallback = spec.at("fallback");
    if fallback.is_said() && only(&["cpu", "memory"]) {
        fallback.fail(failures, "is not for cpu and memory", "a trigger of another type, or no fallback");
    }
    if let Some(replicas) = fallback.at("replicas").number().filter(|replicas| *replicas > most) {
        fallback.at("replicas").fail(
            failures,
            format!("{replicas} is above maxReplicaCount of {most}"),
            "at most maxReplicaCount",
        );
    }
}

/// What KEDA hands on to the autoscaler that it makes, and what it computes itself.
fn advanced(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let behaviour = spec.down("advanced.horizontalPodAutoscalerConfig.behavior");
    for direction in ["scaleUp", "scaleDown"] {
        autoscaling::behaviour(&behaviour.at(direction), failures);
    }
    let formula = spec.down("advanced.scalingModifiers.formula");
    let triggers = spec.at("triggers").list();
    let names: Vec<&str> = triggers.iter().filter_map(|trigger| trigger.at("name").text()).collect();
    for word in formula_names(formula.text_or_empty()).filter(|word| !names.contains(word)) {
        formula.fail(
            failures,
            format!("no trigger is named `{word}`"),
            format!("one of {}", names.join(", ")),
        );
    }
}

/// Names in a formula that are no functions of its language, nor its words.
fn formula_names(formula: &str) -> impl Iterator<Item = &str> {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""[^"]*"|'[^']*'|[A-Za-z_]\w*\s*\(?"#).expect("a pattern of ours"));
    const WORDS: [&str; 9] = ["and", "or", "not", "in", "true", "false", "nil", "let", "matches"];
    let found = NAME.find_iter(formula).map(|found| found.as_str());
    found
        .filter(|word| !word.ends_with('(') && !word.starts_with(['"', '\'']))
        .map(str::trim_end)
        .filter(|word| !WORDS.contains(word))
}

fn triggers(object: &Object, failures: &mut Vec<Failure>) {
    let mut names = Vec::new();
    for trigger in Field::root(object).down("spec.triggers").list() {
        let (kind, metadata) = (trigger.at("type"), trigger.at("metadata"));
        let name = trigger.at("name");
        if name.text().is_some_and(|name| names.contains(&name)) {
            name.fail(failures, format!("a second trigger {}", name.quoted()), "each name once");
        }
        names.extend(name.text());
        let Some(said) = kind.text() else { continue };
        let Some((_, needed)) = SCALERS.iter().find(|(known, _)| *known == said) else {
            let near = nearest(said, SCALERS.iter().map(|(known, _)| *known));
            let right = near.map_or("a scaler of KEDA's".to_owned(), |near| format!("perhaps `{near}`"));
            kind.fail(failures, format!("there is no scaler {}", kind.quoted()), right);
            continue;
        };
        // Some is brought by a TriggerAuthentication.
        let brought = trigger.at("authenticationRef").is_said();
        for field in needed.iter().filter(|field| metadata.at(field).is_empty()) {
            if !brought || matches!(*field, "query" | "threshold" | "value") {
                metadata.at(field).fail(failures, "is missing", format!("what {said} scales by"));
            }
        }
        if said == "prometheus" {
            for (key, value) in metadata.map() {
                if let Some(near) =
                    nearest(key, PROMETHEUS.iter().copied()).filter(|_| !PROMETHEUS.contains(&key))
                {
                    value.fail(failures, format!("prometheus reads no `{key}`"), format!("perhaps `{near}`"));
                }
            }
        }
        for field in ["threshold", "activationThreshold", "value", "desiredReplicas"] {
            let value = metadata.at(field);
            let resource = matches!(said, "cpu" | "memory");
            if !resource && value.text().is_some_and(|text| text.parse::<f64>().is_err()) {
                value.fail(failures, format!("{} is no number", value.quoted()), "a number in quotes");
            }
        }
        let address = metadata.at("serverAddress");
        if address.text().is_some_and(|text| !text.starts_with("http://") && !text.starts_with("https://")) {
            address.fail(failures, format!("{} is no URL", address.quoted()), "with http:// or https://");
        }
        let metric = trigger.at("metricType");
        if matches!(said, "cpu" | "memory") {
            share(&metric, &metadata.at("value"), failures);
        }
        if said == "cpu" || said == "memory" {
            if metric.text() == Some("Value") {
                metric.fail(failures, format!("{said} has no Value"), "Utilization or AverageValue");
            }
        } else if metric.text() == Some("Utilization") {
            metric.fail(failures, "Utilization is for cpu and memory", "AverageValue or Value");
        }
    }
}

/// A share of what is asked for, or an amount.
fn share(metric: &Field<'_>, value: &Field<'_>, failures: &mut Vec<Failure>) {
    let Some(text) = value.text() else { return };
    if metric.text() == Some("AverageValue") {
        if value.quantity().is_none() {
            value.fail(failures, format!("{} is no amount", value.quoted()), "as 500m or 1Gi");
        }
    } else if !text.parse::<u32>().is_ok_and(|share| share > 0) {
        value.fail(
            failures,
            format!("{} is no share", value.quoted()),
            "a whole number of percent, without the sign",
        );
    }
}
