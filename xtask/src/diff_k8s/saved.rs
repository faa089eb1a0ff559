//! What backends will have to compute when the cache's results are no longer asked for: gates' counters enter, a line leaves.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::deployment::Kubectl;

/// Counters are read twice, so far apart.
const APART: Duration = Duration::from_secs(5);
/// Compute time that hits saved, in microseconds: those of proxies at gates, those of `serve` itself at backends.
const COUNTERS: [(&str, u16, &str); 2] =
    [("gate", 8012, "forebay_proxy_saved_us"), ("backend", 8002, "forebay_saved_us")];

/// # Errors
/// kubectl can't be run.
pub(super) fn line(kubectl: &Kubectl, release: &str) -> Result<String> {
    let before = sum(kubectl, release)?;
    let since = Instant::now();
    std::thread::sleep(APART);
    let after = sum(kubectl, release)?;
    let (Some(before), Some(after)) = (before, after) else {
        return Ok("can't be known: the metrics of gates and backends can't be read from here".to_owned());
    };
    Ok(told(after - before, since.elapsed()))
}

fn told(saved_us: f64, within: Duration) -> String {
    let engines = saved_us.max(0.0) / 1e6 / within.as_secs_f64();
    format!(
        "hits save {engines:.2} s of computing each second now (over {:.0} s): so many engines more are busy until the cache is warm again, \
         if all results change",
        within.as_secs_f64()
    )
}

/// None where none can be read.
fn sum(kubectl: &Kubectl, release: &str) -> Result<Option<f64>> {
    let mut found = None;
    for (component, port, counter) in COUNTERS {
        for text in metrics(kubectl, release, component, port)? {
            *found.get_or_insert(0.0) += added(&text, counter);
        }
    }
    Ok(found)
}

fn added(text: &str, counter: &str) -> f64 {
    let value = |line: &str| {
        line.strip_prefix(counter)?.strip_prefix(['{', ' '])?.rsplit(' ').next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(value).sum()
}

/// What the pods of a component say of themselves, of those that can be asked.
///
/// # Errors
/// kubectl can't be run.
pub(super) fn metrics(kubectl: &Kubectl, release: &str, component: &str, port: u16) -> Result<Vec<String>> {
    let selector = format!("app.kubernetes.io/instance={release},app.kubernetes.io/component={component}");
    let pods = kubectl.objects(&format!("get pods --selector {selector}"), "")?;
    let mut all = Vec::new();
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/pods/{name}:{port}/proxy/metrics", kubectl.namespace());
        let said = kubectl.ask(&format!("get --raw {path}"), "")?;
        if said.ok {
            all.push(said.stdout);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_models_are_added_and_no_other_is() {
        let text = "# TYPE forebay_saved_us counter\nforebay_saved_us{model=\"a\",version=\"1\"} 1500\nforebay_saved_us{model=\"b\",version=\"1\"} 500\n\
                    forebay_saved_us_else 7\n";
        assert!((added(text, "forebay_saved_us") - 2000.0).abs() < 1e-9);
        assert!(
            told(10e6, Duration::from_secs(5)).starts_with("hits save 2.00 s"),
            "{}",
            told(10e6, Duration::from_secs(5))
        );
    }
}
