//! A gate that Kubernetes asks for External metrics: what there is to do is told the API server's front proxy and nobody else, and what is
//! not known is no 0.

mod cluster;

use rig::http::{Connection, request};
use rig::process::until;
use serde_json::Value;

use crate::hold::asks;
use crate::mesh::Mesh;
use crate::process::{gate_command, refused};
use cluster::{Cluster, GROUP, NAMESPACE, ask_as, metric_path};

/// What a list says of the service's one value.
fn value(list: &Value) -> &str {
    assert_eq!(
        (&list["kind"], list["items"].as_array().unwrap().len()),
        (&"ExternalMetricValueList".into(), 1)
    );
    list["items"][0]["value"].as_str().unwrap()
}

#[test]
fn who_has_no_certificate_of_the_front_proxy_and_its_name_is_not_answered() {
    let cluster = Cluster::start();
    let elastic = cluster.elastic(Mesh::redis());
    let port = elastic.gate.external_metrics_port;
    cluster.until_known(port);
    let metric = metric_path("forebay-requests");
    let refused = ask_as(None, port, &metric).unwrap();
    assert_eq!((refused.status, &refused.json()["reason"]), (401, &"Unauthorized".into()), "{refused:?}");
    let another = ask_as(Some(cluster.front_proxy().sign_for("another")), port, &metric).unwrap();
    assert_eq!((another.status, &another.json()["reason"]), (403, &"Forbidden".into()), "{another:?}");
    let stranger = rig::authority::Authority::new().sign_for("front-proxy-client");
    assert!(ask_as(Some(stranger), port, &metric).is_err(), "another CA's");
    assert_eq!(cluster.ask(port, &metric).status, 200);
}

#[test]
fn a_front_proxy_with_a_new_ca_is_known_by_it_without_a_restart() {
    let cluster = Cluster::start();
    let elastic = cluster.elastic(Mesh::redis());
    let port = elastic.gate.external_metrics_port;
    cluster.until_known(port);
    let old = cluster.front_proxy().sign_for("front-proxy-client");
    cluster.renews();
    cluster.until_known(port);
    assert!(ask_as(Some(old), port, "/apis").is_err(), "the old CA's");
}

#[test]
fn until_it_is_known_who_may_ask_nobody_is_answered_and_the_log_says_what_is_missing() {
    let cluster = Cluster::start();
    cluster.forbids(true);
    let elastic = cluster.elastic(Mesh::redis());
    let port = elastic.gate.external_metrics_port;
    let asked = cluster.ask(port, "/apis");
    assert_eq!((asked.status, &asked.json()["reason"]), (503, &"ServiceUnavailable".into()), "{asked:?}");
    until("it is said", || {
        let log = elastic.gate.log();
        ["403 Forbidden", "expected a RoleBinding in kube-system"]
            .iter()
            .all(|said| log.contains(said))
            .then_some(())
    });
    cluster.forbids(false);
    cluster.until_known(port);
}

#[test]
fn what_waits_at_any_gate_is_told_by_each_and_busy_once_there_are_two_looks() {
    for mesh in Mesh::each() {
        let cluster = Cluster::start();
        let elastic = cluster.elastic(mesh);
        let other = elastic.another_gate(&cluster.flags());
        let ports = [elastic.gate.external_metrics_port, other.external_metrics_port];
        let told = |port: u16, metric: &str| {
            let answer = cluster.ask(port, &metric_path(metric));
            (answer.status == 200).then(|| value(&answer.json()).to_owned())
        };
        let until_told = |metric: &str, expected: &str| {
            for port in ports {
                until(expected, || (told(port, metric)? == expected).then_some(()));
            }
        };
        until_told("forebay-requests", "0");
        until_told("forebay-busy", "0m");
        let mut held: Vec<Connection> = (0..3_u8).map(|value| asks(&other, f32::from(value))).collect();
        held.push(elastic.ask(3.0));
        until_told("forebay-requests", "4");
        let _backend = elastic.wakes();
        assert!(held.iter_mut().all(|held| held.read().unwrap().status == 200));
        until_told("forebay-requests", "0");
    }
}

#[test]
fn without_the_pool_what_waits_elsewhere_is_not_known_and_0_is_not_told() {
    let cluster = Cluster::start();
    let mut elastic = cluster.elastic(Mesh::redis());
    let port = elastic.gate.external_metrics_port;
    let metric = metric_path("forebay-requests");
    cluster.until_known(port);
    until("0 is told", || (cluster.ask(port, &metric).status == 200).then_some(()));
    elastic.mesh.kill();
    let refused = until("it is not known", || {
        let answer = cluster.ask(port, &metric);
        (answer.status == 503).then_some(answer)
    });
    assert!(
        refused.json()["message"].as_str().unwrap().contains("forebay-requests is not known"),
        "{refused:?}"
    );
    // Who waits here is woken for all the same.
    let _held = elastic.ask(1.0);
    until("one waits here", || {
        let answer = cluster.ask(port, &metric);
        (answer.status == 200 && value(&answer.json()) == "1").then_some(())
    });
}

#[test]
fn what_is_asked_of_an_aggregated_api_is_answered_and_all_else_refused_as_kubernetes_does() {
    let cluster = Cluster::start();
    let elastic = cluster.elastic(Mesh::redis());
    let port = elastic.gate.external_metrics_port;
    cluster.until_known(port);
    let group = format!("/apis/{GROUP}");
    let version = format!("{group}/v1beta1");
    for (path, kind) in
        [("/apis", "APIGroupList"), (&group, "APIGroup"), (&version, "APIResourceList"), ("/openapi/v2", "")]
    {
        let answer = cluster.ask(port, path);
        assert_eq!(
            (answer.status, answer.json()["kind"].as_str().unwrap_or_default()),
            (200, kind),
            "{answer:?}"
        );
    }
    let resources = cluster.ask(port, &version).json();
    let names: Vec<&Value> =
        resources["resources"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["forebay-requests", "forebay-busy"]);
    let metric = metric_path("forebay-requests");
    let none = cluster.ask(port, &format!("{metric}?labelSelector=service%3Dother")).json();
    assert_eq!(none["items"].as_array().unwrap().len(), 0);
    let right = cluster.ask(port, &format!("{metric}?labelSelector=service%3Ddefault")).json();
    assert_eq!((value(&right), &right["items"][0]["metricLabels"]["service"]), ("0", &"default".into()));
    for (path, code, reason) in [
        (format!("{metric}?labelSelector=service%20in%20(a)"), 400, "BadRequest"),
        (metric_path("more"), 404, "NotFound"),
        (metric.replace(NAMESPACE, "other"), 404, "NotFound"),
        (format!("/{}", "n".repeat(4000)), 404, "NotFound"),
    ] {
        let refused = cluster.ask(port, &path);
        let status = refused.json();
        assert_eq!(
            (refused.status, &status["reason"], &status["code"]),
            (code, &reason.into(), &code.into())
        );
        assert!(status["kind"] == "Status" && refused.body.len() < 1000, "{refused:?}");
    }
    let posted = cluster.send(port, &request("POST", &metric, &[], b"{}"));
    assert_eq!((posted.status, &posted.json()["reason"]), (405, &"MethodNotAllowed".into()));
}

#[test]
fn a_port_without_a_namespace_or_an_api_that_is_none_ends_the_start() {
    let (cluster, mesh) = (Cluster::start(), Mesh::redis());
    let flags = cluster.flags();
    let with = |flags: &[&str]| {
        let held = ["--hold-for", "http://localhost:8000", "--hold-ports", "0,0"];
        refused(&mut gate_command(&mesh.arguments(&[&held, flags].concat())))
    };
    let (code, line) = with(&flags[..2]);
    assert!(code == Some(2) && line.contains("--external-metrics-namespace"), "{code:?} {line}");
    let (code, line) = with(&[&flags[..], &["--external-metrics-api", "http://a"]].concat());
    assert!(code == Some(2), "{code:?} {line}");
}
