//! A Prometheus and prometheus-adapter, in a cluster: Debian's and upstream's programs, the chart's `PodMonitor` and our rules enter; who
//! gives External metrics leaves.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::PATIENCE;
use super::client::{Asked, Values};
use super::replicas::Replicas;
use super::service::{GONE, PROMPT, Service};
use crate::cluster::await_it::until;
use crate::cluster::image;
use crate::cluster::programs::PROMETHEUS_ADAPTER;
use crate::cluster::registry::Registry;
use crate::cluster::test::bed::{Bed, RELEASE};
use crate::cluster::test::dry_run::install_kinds;
use crate::cluster::test::external_metrics::{read, value};
use crate::cluster::test::images::of_debian;
use crate::cluster::test::load::{Load, none_failed};
use crate::command::{command, output};
use crate::setup::{self, Part};

/// Prometheus is slower than a gate to see what is there, and must not have seen less for longer than it takes to find a pod that is new.
pub(super) const SETTINGS: &str = "--set scaling.mode=hpa --set scaling.min=0 --set scaling.cooldownSecs=20 \
     --set monitoring.podMonitor.enabled=true --set monitoring.podMonitor.intervalSecs=5";
/// By which the `PodMonitor` tells a release's pods from each other.
const COMPONENT: &str = "app.kubernetes.io/component";
/// Where both are.
const OWN: &str = "monitoring";
/// Requests that wait: one pod takes four.
const HELD: usize = 3;
/// So long after it began, Prometheus has seen what there is to do; and of so long it tells what is busy.
const SEEN: Duration = Duration::from_secs(5);
const BUSY: Duration = Duration::from_mins(1);

/// Puts their images into the registry, and the `PodMonitor`'s kind into the cluster; which versions they are.
///
/// # Errors
/// One can't be built or had.
pub(super) fn prepare(bed: &Bed<'_>) -> Result<String> {
    let place = bed.place.as_ref().context("images are put into a registry of ours")?;
    let (tools, folder) = (&place.parts.tools, place.instance.folder.join("images"));
    let adapter = PROMETHEUS_ADAPTER.program(bed.layout)?;
    let version = PROMETHEUS_ADAPTER.version(bed.layout)?;
    let image = image::Layout::of(&folder.join("adapter"), &[(adapter, "/adapter".to_owned())], tools)?;
    let registry = Registry::of(place.instance);
    registry.put(&image, &format!("prometheus-adapter/prometheus-adapter:v{version}"))?;
    setup::install(bed.layout, &[Part::Prometheus])?;
    let prometheus = of_debian(bed.layout, "prometheus", "prometheus")?;
    let files = image::Layout::linked(&prometheus, "/prometheus", tools)?;
    registry.put(&image::Layout::of(&folder.join("prometheus"), &files, tools)?, "prom/prometheus:debian")?;
    let said = output(command(bed.layout.bin("prometheus"), ["--version"]))?;
    let is = said.split_whitespace().nth(2).context("prometheus does not say its version")?;
    install_kinds(bed)?;
    Ok(format!("prometheus-adapter {version}, Prometheus {is}"))
}

/// Installs both, by a chart of upstream's manifests whose values are our rules, and waits until the API server hands on what they say.
///
/// # Errors
/// One is not ready in time.
pub(super) fn start(service: &Service<'_>) -> Result<()> {
    let bed = &service.bed;
    let place = bed.place.as_ref().context("a chart is written into a folder of ours")?;
    let chart = place.instance.folder.join("prometheus-adapter");
    let templates = chart.join("templates");
    fs::create_dir_all(&templates)?;
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: prometheus-adapter\nversion: 0.0.0\n")?;
    fs::write(templates.join("rules.yaml"), RULES)?;
    let (services, settings) = scraped(bed)?;
    fs::write(templates.join("services.yaml"), services)?;
    // A text of JSON's is one of YAML's.
    fs::write(
        templates.join("prometheus.yaml"),
        PROMETHEUS.replace("@SETTINGS@", &json!(settings.to_string()).to_string()),
    )?;
    manifests(&PROMETHEUS_ADAPTER.source(bed.layout)?.join("deploy/manifests"), &templates)?;
    bed.helm(&format!(
        "upgrade --install prometheus-adapter {} --namespace {OWN} --create-namespace --values {} --wait --timeout 180s",
        chart.display(),
        bed.layout.root.join("k8s/monitoring/prometheus-adapter.yaml").display()
    ))?;
    bed.kube
        .run("wait --for=condition=Available --timeout=120s apiservice/v1beta1.external.metrics.k8s.io")?;
    until("both figures are told", PATIENCE, || {
        value(bed, "forebay-requests").ok()?;
        value(bed, "forebay-busy").ok()
    })?;
    Ok(())
}

/// Each figure is what those who count it say, and the HPA goes by both.
///
/// # Errors
/// One is not.
pub(super) fn figures(service: &Service<'_>) -> Result<String> {
    let bed = &service.bed;
    // What a backend has computed that went away is in nobody's count any more.
    service.change("--set scaling.max=1")?;
    let (front, values) = (service.front()?, Values::new());
    Replicas::watch(bed)?.until("the HPA wants none", PATIENCE, |seen| seen.wanted == 0)?;
    bed.run(GONE)?;
    let asked = (0..HELD).map(|_| {
        let one = Asked { model: PROMPT, value: values.next() };
        Ok((one, one.begin(front)?))
    });
    let held = asked.collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    until("those who wait are told", PATIENCE, || {
        (value(bed, "forebay-requests").ok()? == HELD.to_string()).then_some(())
    })?;
    let told = began.elapsed();
    let elsewhere = value(&bed.in_namespace("default"), "forebay-requests")?;
    ensure!(elsewhere == "0", "of a namespace where nobody waits: {elsewhere}");
    for (one, mut connection) in held {
        one.end(&mut connection).map_err(|why| anyhow!("one that waited: {why}"))?;
    }
    let answered = began.elapsed();
    let load = Load::start(bed)?;
    thread::sleep(SEEN);
    let (since, before) = (Instant::now(), service.metric("backend", "forebay_computed_us")?);
    thread::sleep(BUSY);
    let (busy, went_by) = (value(bed, "forebay-busy")?, read(bed)?);
    let computed = service.metric("backend", "forebay_computed_us")? - before;
    let counted = computed as f64 / 1e6 / since.elapsed().as_secs_f64();
    none_failed(&load.stop()?)?;
    service.change("")?;
    ensure!(
        (thousandths(&busy)? as f64 / 1e3 / counted - 1.0).abs() < 0.2,
        "busy {busy}, and the backends counted {counted:.3}"
    );
    Ok(format!(
        "{HELD} that wait are told as {HELD} after {:.1} s, in another namespace as 0, and answered after {:.1} s; \
         busy {busy}, by the backends' own count {counted:.3}; the HPA read {went_by}",
        told.as_secs_f64(),
        answered.as_secs_f64()
    ))
}

/// Takes both away: another one may give External metrics then.
///
/// # Errors
/// The server refuses.
pub(super) fn stop(bed: &Bed<'_>) -> Result<()> {
    bed.helm(&format!("uninstall prometheus-adapter --namespace {OWN} --wait"))?;
    bed.kube.run(&format!("delete namespace {OWN}")).map(drop)
}

/// Services of all pods that the chart's `PodMonitor` selects, and a Prometheus' settings that ask DNS for their ports: Debian's can't ask
/// Kubernetes, and of no pod does an operator tell it here.
fn scraped(bed: &Bed<'_>) -> Result<(String, Value)> {
    let monitor = bed.json(&format!("get podmonitors.monitoring.coreos.com {RELEASE}"))?;
    let (endpoint, selector) = (&monitor["spec"]["podMetricsEndpoints"][0], &monitor["spec"]["selector"]);
    let one = &selector["matchExpressions"][0];
    ensure!(
        one["operator"] == "In" && one["key"] == COMPONENT,
        "the PodMonitor selects in another way now: {selector}"
    );
    let (mut services, mut names) = (String::new(), Vec::new());
    for component in one["values"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let name = format!("metrics-of-{component}");
        let mut labels = selector["matchLabels"].clone();
        labels[COMPONENT] = component.into();
        names.push(format!("_metrics._tcp.{name}.{}.svc.cluster.local", bed.namespace));
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": bed.namespace},
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": true,
                "selector": labels,
                "ports": [{"name": "metrics", "port": 1, "targetPort": endpoint["port"]}],
            },
        });
        services.extend(["---\n", &service.to_string(), "\n"]);
    }
    let job = json!({
        "job_name": RELEASE,
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "dns_sd_configs": [{"names": names, "refresh_interval": "2s"}],
        "relabel_configs": [{"target_label": "namespace", "replacement": bed.namespace}],
    });
    Ok((services, json!({"scrape_configs": [job]})))
}

/// Upstream's manifests as templates: but for its rules, for its one `APIService`, and what is for a larger cluster.
fn manifests(from: &Path, to: &Path) -> Result<()> {
    for name in [
        "service-account",
        "cluster-role",
        "cluster-role-binding",
        "cluster-role-binding-delegator",
        "role-binding-auth-reader",
        "service",
        "deployment",
        "api-service",
    ] {
        let file = from.join(format!("{name}.yaml"));
        let mut text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
        let changes: &[(&str, &str)] = match name {
            "deployment" => &[
                ("https://prometheus.monitoring.svc", "http://prometheus.monitoring.svc"),
                ("replicas: 2", "replicas: 1"),
                ("initialDelaySeconds: 30", "initialDelaySeconds: 1"),
                ("securityContext: {}", "securityContext: { runAsUser: 65532 }"),
            ],
            "api-service" => &[("metrics.k8s.io", "external.metrics.k8s.io")],
            _ => &[],
        };
        for (old, new) in changes {
            ensure!(text.contains(old), "{} says no more {old}", file.display());
            text = text.replace(old, new);
        }
        fs::write(to.join(format!("{name}.yaml")), text)?;
    }
    Ok(())
}

/// Thousandths of a number as Kubernetes writes it, of those that a metric has: `43m` is 43, and `3` is 3000.
fn thousandths(text: &str) -> Result<u64> {
    let (digits, scale) = text.strip_suffix('m').map_or((text, 1000), |digits| (digits, 1));
    Ok(digits.parse::<u64>().with_context(|| format!("{text} is no quantity that is known"))? * scale)
}

/// What upstream's chart makes of `rules.external`, in upstream's `ConfigMap`.
const RULES: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: { name: adapter-config, namespace: monitoring }
data:
  config.yaml: |
    externalRules:
{{ toYaml .Values.rules.external | indent 4 }}
";

const PROMETHEUS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: { name: prometheus, namespace: monitoring }
data:
  prometheus.yml: @SETTINGS@
---
apiVersion: v1
kind: Service
metadata: { name: prometheus, namespace: monitoring }
spec:
  selector: { app: prometheus }
  ports: [{ port: 9090 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: prometheus, namespace: monitoring }
spec:
  selector: { matchLabels: { app: prometheus } }
  template:
    metadata: { labels: { app: prometheus } }
    spec:
      securityContext: { runAsUser: 65532 }
      containers:
        - name: prometheus
          image: prom/prometheus:debian
          args: [--config.file=/settings/prometheus.yml, --storage.tsdb.path=/data]
          ports: [{ containerPort: 9090 }]
          readinessProbe: { httpGet: { path: /-/ready, port: 9090 }, periodSeconds: 1 }
          volumeMounts:
            - { name: settings, mountPath: /settings }
            - { name: data, mountPath: /data }
      volumes:
        - { name: settings, configMap: { name: prometheus } }
        - { name: data, emptyDir: {} }
";

#[cfg(test)]
mod tests {
    use super::thousandths;

    #[test]
    fn a_quantity_is_read_as_kubernetes_writes_it() {
        let read = |text| thousandths(text).unwrap();
        assert_eq!([read("0"), read("3"), read("250m")], [0, 3000, 250]);
        thousandths("3k").unwrap_err();
    }
}
