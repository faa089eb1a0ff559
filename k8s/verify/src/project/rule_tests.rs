//! The tests of our alerts, and of the figures that autoscalers go by: those of `k8s/monitoring/tests`, the chart's rules,
//! Istio's and prometheus-adapter's enter, what is not as a test says leaves. promtool runs them beside everything else that is judged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::failed;
use crate::failure::Failure;
use crate::read;

/// promtool at work, once a file of tests: it does not say which of several fails.
pub(super) struct Running {
    promtools: Vec<(PathBuf, Child)>,
    /// Where they read rules and tests.
    folder: TempDir,
}

/// Begins, where there is something to test.
///
/// # Errors
/// A file can't be read or written, or promtool can't be run.
pub(super) fn begin(root: &Path, promtool: &Path) -> Result<Option<Running>> {
    let tests = root.join("k8s/monitoring/tests");
    if !tests.is_dir() {
        return Ok(None);
    }
    let folder = TempDir::new().context("no folder for rules and their tests")?;
    let mut rules = files(&root.join("k8s/charts/forebay/rules"))?;
    let istio = root.join("k8s/istio/alerts.yaml");
    if istio.is_file() {
        let text = fs::read_to_string(&istio).with_context(|| format!("can't read {}", istio.display()))?;
        rules.push(("istio.yaml".to_owned(), text));
    }
    for (name, text) in rules {
        // Prometheus reads what stands under an object's `spec`; JSON is YAML.
        let mut documents = read::documents(&text).0.into_iter();
        if let Some(spec) = documents.find_map(|document| document.value.get("spec").cloned()) {
            fs::write(folder.path().join(name), spec.to_string())?;
        }
    }
    let adapter = root.join("k8s/monitoring/prometheus-adapter.yaml");
    if adapter.is_file() {
        let text =
            fs::read_to_string(&adapter).with_context(|| format!("can't read {}", adapter.display()))?;
        fs::write(folder.path().join("prometheus-adapter.yaml"), recorded(&text).to_string())?;
    }
    let mut promtools = Vec::new();
    for (name, text) in files(&tests)? {
        let copy = format!("test-{name}");
        fs::write(folder.path().join(&copy), text)?;
        let mut command = Command::new(promtool);
        command.args(["test", "rules"]).arg(copy).current_dir(&folder);
        // A collector that runs seldom saves a sixth of its time.
        command.env("GOGC", "400");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        promtools.push((tests.join(name), command.spawn().context("promtool can't be run")?));
    }
    Ok(Some(Running { promtools, folder }))
}

/// What prometheus-adapter asks of a namespace, as rules that record it: `adapter:forebay_busy` of `forebay-busy`.
fn recorded(text: &str) -> Value {
    let documents = read::documents(text).0;
    let rules = documents.first().and_then(|one| one.value.pointer("/rules/external")?.as_array());
    let rule = |rule: &Value| {
        let name = rule.pointer("/name/as")?.as_str()?.replace('-', "_");
        let query = rule.get("metricsQuery")?.as_str()?.replace("<<.LabelMatchers>>", r#"namespace="ns""#);
        Some(json!({ "record": format!("adapter:{name}"), "expr": query }))
    };
    let rules: Vec<Value> = rules.into_iter().flatten().filter_map(rule).collect();
    json!({ "groups": [{ "name": "prometheus-adapter", "rules": rules }] })
}

impl Running {
    /// Waits for their end.
    ///
    /// # Errors
    /// One can't be waited for.
    pub(super) fn end(self, failures: &mut Vec<Failure>) -> Result<()> {
        for (tests, promtool) in self.promtools {
            let output = promtool.wait_with_output().context("promtool")?;
            if !output.status.success() {
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).replace("FAILED:", "");
                failures.push(failed(&tests, &format!("a test of alerts fails: {}", said.trim())));
            }
        }
        drop(self.folder);
        Ok(())
    }
}

/// Names and texts of a folder's YAML.
fn files(folder: &Path) -> Result<Vec<(String, String)>> {
    let listed = fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in listed {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|end| end == "yaml") && name != "kustomization.yaml" {
            let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
            files.push((name, text));
        }
    }
    files.sort();
    Ok(files)
}
