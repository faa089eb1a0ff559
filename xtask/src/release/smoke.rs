//! Does it work? A release's name enters; whether each encoding is answered, and then by the cache alone, and whether each model of each
//! backend is ready, leaves.
//!
//! Who asks is a pod beside it, made of the backend's own image, as `helm test` does: so no way into the cluster is needed.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::command::last_lines;
use crate::deployment::Kubectl;

const PATIENCE: Duration = Duration::from_mins(2);
/// How often it is asked before it counts as failed.
const ATTEMPTS: u64 = 5;
const GLANCE: Duration = Duration::from_millis(300);
const ENCODINGS: [&str; 3] = ["json", "binary", "grpc"];

pub(super) struct Smoke<'a> {
    pub(super) kubectl: &'a Kubectl,
    pub(super) release: &'a str,
    /// Whom to ask, with more arguments.
    pub(super) model: Option<(String, Vec<String>)>,
}

impl Smoke<'_> {
    /// # Errors
    /// Something does not answer, the cache lacks what was answered, or a model is not ready.
    pub(super) fn run(&self) -> Result<String> {
        let ready = self.ready()?;
        let asked = match &self.model {
            None => "no model was asked: --model names one".to_owned(),
            Some((model, arguments)) => {
                let times = self.ask(model, arguments)?;
                let again = if times > 0 { format!(" (asked {times} times more)") } else { String::new() };
                format!("{model} answers {}, and the cache alone after it{again}", ENCODINGS.join(", "))
            }
        };
        Ok(format!("{ready}; {asked}"))
    }

    /// A backend is ready once all its models are, and says by its metrics of how many that is true.
    fn ready(&self) -> Result<String> {
        let selector =
            format!("app.kubernetes.io/instance={},app.kubernetes.io/component=backend", self.release);
        let pods = self.kubectl.objects(&format!("get pods --selector {selector}"), "")?;
        let pods: Vec<&Value> =
            pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
        ensure!(!pods.is_empty(), "no backend runs");
        let mut counts = Vec::new();
        for pod in &pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let ready = conditions.filter(|one| one["type"] == "Ready").any(|one| one["status"] == "True");
            ensure!(ready, "{name} is not ready");
            let path =
                format!("/api/v1/namespaces/{}/pods/{name}:8002/proxy/metrics", self.kubectl.namespace());
            let said = self.kubectl.ask(&format!("get --raw {path}"), "")?;
            let of = |state| gauge(&said.stdout, &format!("forebay_models{{state=\"{state}\"}}"));
            if let Some(count) = of("ready") {
                let not = of("unavailable").unwrap_or(0.0);
                ensure!(count > 0.0 && not == 0.0, "{name}: {count} models are ready, {not} are not");
                counts.push(count);
            }
        }
        let models = match counts.first() {
            Some(count) if counts.len() == pods.len() => format!(", with {count} models each"),
            _ => ", with all their models (their metrics don't say how many)".to_owned(),
        };
        Ok(format!("{} backends ready{models}", pods.len()))
    }

    /// How often it was asked again, of what was not answered yet: right after a start the front may not have heard of the backends, and a
    /// busy pool may have kept nothing or be slow to say so, of which one hit less is no fault of the release.
    fn ask(&self, model: &str, arguments: &[String]) -> Result<u64> {
        let backend = self.kubectl.object(&format!("deployment/{}-backend", self.release))?;
        let backend = backend.context("there is no backend")?;
        let front = self.kubectl.object(&format!("service/{}-front", self.release))?.is_some();
        let mut left = ENCODINGS.to_vec();
        let mut again = 0;
        loop {
            let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
            let pod = pod(self.release, &backend, front, model, arguments, (seed, &left))?;
            let wrong = match self.ask_once(&pod) {
                Ok((ended, said)) => {
                    left.retain(|encoding| !answered(&ended, encoding));
                    if left.is_empty() {
                        return Ok(again);
                    }
                    anyhow!("not all is answered:\n{said}")
                }
                Err(error) => error,
            };
            if again == ATTEMPTS - 1 {
                return Err(wrong);
            }
            again += 1;
        }
    }

    /// The pod at its end, and what it said that is wrong.
    fn ask_once(&self, pod: &Value) -> Result<(Value, String)> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.kubectl.run(&format!("delete pod {name} --ignore-not-found --grace-period 1"), "")?;
        self.kubectl.run("create --filename -", &pod.to_string())?;
        let ended = self.await_end(&name)?;
        let said = self.kubectl.ask(&format!("logs {name} --all-containers --prefix --tail 1"), "")?;
        let wrong: Vec<&str> = said.stdout.lines().filter(|line| line.contains("] forebay: ")).collect();
        self.kubectl.run(&format!("delete pod {name} --wait=false --grace-period 1"), "")?;
        Ok((ended, last_lines(&wrong.join("\n"))))
    }

    fn await_end(&self, name: &str) -> Result<Value> {
        let since = Instant::now();
        loop {
            let pod =
                self.kubectl.object(&format!("pod/{name}"))?.context("the pod that asks was deleted")?;
            if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
                || since.elapsed() > PATIENCE
            {
                return Ok(pod);
            }
            std::thread::sleep(GLANCE);
        }
    }
}

/// Was an encoding answered, and then by the cache alone?
fn answered(pod: &Value, encoding: &str) -> bool {
    let of = |key: &str| pod["status"][key].as_array().into_iter().flatten();
    let mut all = of("initContainerStatuses").chain(of("containerStatuses"));
    let hit = format!("{encoding}-hit");
    all.any(|one| one["name"] == *hit && one["state"]["terminated"]["exitCode"] == 0)
}

/// Two containers an encoding, one after the other: a request, and then what the cache alone has of it.
fn pod(
    release: &str,
    backend: &Value,
    front: bool,
    model: &str,
    arguments: &[String],
    (seed, encodings): (u64, &[&str]),
) -> Result<Value> {
    let (labels, template) = (&backend["metadata"]["labels"], &backend["spec"]["template"]["spec"]);
    let container = &template["containers"][0];
    let tls = template["volumes"].as_array().into_iter().flatten().find(|volume| volume["name"] == "tls");
    let tls = tls.and_then(|volume| volume["secret"]["secretName"].as_str());
    let secure = if tls.is_some() { "s" } else { "" };
    let (service, http, grpc) = if front { ("front", 8080, 8080) } else { ("backend", 8000, 8001) };
    let one = |index: usize, encoding: &str, kind: &str| {
        let mut args = vec![
            "infer".to_owned(),
            format!("--url=http{secure}://{release}-{service}:{http}"),
            format!("--grpc-url=grpc{secure}://{release}-{service}:{grpc}"),
            format!("--encoding={encoding}"),
            format!("--seed={}", seed * 3 + index as u64),
        ];
        if kind == "hit" {
            args.push("--header=cache-control: only-if-cached".to_owned());
        }
        if tls.is_some() {
            args.push("--ca-file=/etc/forebay/tls/ca.crt".to_owned());
        }
        args.extend(arguments.iter().cloned());
        args.push(model.to_owned());
        let mounts =
            tls.map(|_| json!([{ "name": "tls", "mountPath": "/etc/forebay/tls", "readOnly": true }]));
        json!({
            "name": format!("{encoding}-{kind}"), "image": container["image"],
            "imagePullPolicy": container["imagePullPolicy"], "command": ["/usr/bin/forebay"], "args": args,
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            },
            "resources": { "requests": { "cpu": "20m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
            "volumeMounts": mounts.unwrap_or_else(|| json!([])),
        })
    };
    let mut all = Vec::new();
    for (index, encoding) in encodings.iter().enumerate() {
        all.extend(["miss", "hit"].map(|kind| one(index, encoding, kind)));
    }
    let last = all.pop().context("nothing is asked")?;
    let of_tls = |secret| {
        json!([{ "name": "tls", "secret": {
        "secretName": secret, "defaultMode": 0o440, "items": [{ "key": "ca.crt", "path": "ca.crt" }] } }])
    };
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("{release}-smoke"), "labels": {
            "app.kubernetes.io/name": labels["app.kubernetes.io/name"],
            "app.kubernetes.io/instance": labels["app.kubernetes.io/instance"],
            // As network policies know it.
            "app.kubernetes.io/component": "test",
        } },
        "spec": {
            "restartPolicy": "Never", "activeDeadlineSeconds": PATIENCE.as_secs(),
            "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 1,
            "imagePullSecrets": template.get("imagePullSecrets").cloned().unwrap_or_else(|| json!([])),
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "volumes": tls.map_or_else(|| json!([]), of_tls),
            "initContainers": all, "containers": [last],
        },
    }))
}

/// A metric's value, by its name with its labels.
pub(super) fn gauge(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(volumes: &Value) -> Value {
        json!({
            "metadata": { "labels": { "app.kubernetes.io/name": "forebay", "app.kubernetes.io/instance": "r" } },
            "spec": { "template": { "spec": {
                "containers": [{ "name": "backend", "image": "forebay/serve:1", "imagePullPolicy": "Always" }],
                "volumes": volumes } } },
        })
    }

    #[test]
    fn each_encoding_is_asked_and_then_the_cache_alone_for_the_same() {
        let pod = pod("r", &backend(&json!([])), true, "m", &[], (7, &ENCODINGS)).unwrap();
        let mut all = pod["spec"]["initContainers"].as_array().unwrap().clone();
        all.extend(pod["spec"]["containers"].as_array().unwrap().clone());
        let names: Vec<_> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["json-miss", "json-hit", "binary-miss", "binary-hit", "grpc-miss", "grpc-hit"]);
        for pair in all.chunks(2) {
            let args = |of: &Value| of["args"].as_array().unwrap().clone();
            let (miss, mut hit) = (args(&pair[0]), args(&pair[1]));
            hit.retain(|arg| arg != "--header=cache-control: only-if-cached");
            assert_eq!((hit.len() + 1, &hit), (args(&pair[1]).len(), &miss), "the same request");
        }
        assert_ne!(all[0]["args"], all[2]["args"], "another encoding has another input: its hit is its own");
    }

    #[test]
    fn what_speaks_tls_is_asked_by_tls_and_its_key_stays_where_it_is() {
        let tls = json!([{ "name": "tls", "secret": { "secretName": "own" } }]);
        let pod = pod("r", &backend(&tls), false, "m", &[], (7, &ENCODINGS)).unwrap();
        let args = pod["spec"]["containers"][0]["args"].as_array().unwrap();
        assert!(args.contains(&json!("--grpc-url=grpcs://r-backend:8001")), "{args:?}");
        assert_eq!(
            pod["spec"]["volumes"][0]["secret"]["items"],
            json!([{ "key": "ca.crt", "path": "ca.crt" }])
        );
    }

    #[test]
    fn what_was_answered_is_known_of_each_encoding_and_the_rest_is_asked_again() {
        let ended =
            |name: &str, code: u8| json!({ "name": name, "state": { "terminated": { "exitCode": code } } });
        let pod_ended = json!({ "status": {
            "initContainerStatuses": [ended("json-miss", 0), ended("json-hit", 0), ended("binary-miss", 0), ended("binary-hit", 1)],
            "containerStatuses": [{ "name": "grpc-hit", "state": { "waiting": {} } }],
        } });
        let left: Vec<_> = ENCODINGS.into_iter().filter(|encoding| !answered(&pod_ended, encoding)).collect();
        assert_eq!(left, ["binary", "grpc"]);
        let again = pod("r", &backend(&json!([])), true, "m", &[], (8, &left)).unwrap();
        assert_eq!(again["spec"]["initContainers"].as_array().unwrap().len() + 1, 4);
    }

    #[test]
    fn a_gauge_is_found_by_its_labels() {
        let text = "# TYPE forebay_models gauge\nforebay_models{state=\"ready\"} 2\nforebay_models{state=\"unavailable\"} 0\n";
        assert_eq!(gauge(text, "forebay_models{state=\"unavailable\"}"), Some(0.0));
    }
}
