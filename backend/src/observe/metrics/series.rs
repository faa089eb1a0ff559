//! The series of models, which go when nobody counts in them any more: models come and go, a process stays. A version's name
//! enters, its series leave; all of them are merged into one text for `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};

use super::{builder, describe};

type Name = (String, String);

/// By model and version, for as long as somebody counts.
static KNOWN: Mutex<BTreeMap<Name, Weak<PrometheusRecorder>>> = Mutex::new(BTreeMap::new());

/// The series of one version of a model, or of whatever else comes and goes by two names. What replaces it goes on with its counts.
#[derive(Clone)]
pub(crate) struct Series(Arc<PrometheusRecorder>);

impl Series {
    /// Those of that version: new ones, unless somebody counts in them.
    pub(crate) fn of(model: &str, version: &str) -> Self {
        let mut known = known();
        known.retain(|_, recorder| recorder.strong_count() > 0);
        let name = (model.to_owned(), version.to_owned());
        let recorder = known.get(&name).and_then(Weak::upgrade);
        let recorder = recorder.unwrap_or_else(|| {
            // The buckets are constants that aren't empty.
            let builder = builder().unwrap_or_default();
            let recorder = Arc::new(builder.build_recorder());
            metrics::with_local_recorder(&*recorder, describe);
            known.insert(name, Arc::downgrade(&recorder));
            recorder
        });
        Self(recorder)
    }

    /// Counters that are made by `make` are among these.
    pub(crate) fn count<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.0, make)
    }
}

fn known() -> MutexGuard<'static, BTreeMap<Name, Weak<PrometheusRecorder>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that are there now. Rendered outside of the lock: loads take it too.
fn handles() -> Vec<PrometheusHandle> {
    known().values().filter_map(Weak::upgrade).map(|recorder| recorder.handle()).collect()
}

pub(super) fn render_each() -> impl Iterator<Item = String> {
    handles().into_iter().map(|handle| handle.render())
}

pub(super) fn keep_up() {
    handles().iter().for_each(PrometheusHandle::run_upkeep);
}

/// Those of all models.
#[cfg(test)]
pub(crate) fn text() -> String {
    merge(render_each())
}

/// One text of many: the lines of a metric stand together, behind what describes it, once.
pub(super) fn merge(texts: impl Iterator<Item = String>) -> String {
    #[derive(Default)]
    struct Family {
        head: Vec<String>,
        lines: Vec<String>,
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for text in texts {
        let mut family = String::new();
        // What describes a metric stands before its lines.
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(described) = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")) {
                described.split(' ').next().unwrap_or_default().clone_into(&mut family);
                let head = &mut families.entry(family.clone()).or_default().head;
                if !head.iter().any(|known| known == line) {
                    head.push(line.to_owned());
                }
            } else {
                families.entry(family.clone()).or_default().lines.push(line.to_owned());
            }
        }
    }
    let mut merged = String::new();
    for line in families.values().flat_map(|family| family.head.iter().chain(&family.lines)) {
        merged.push_str(line);
        merged.push('\n');
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_described_once_and_its_lines_stand_together() {
        let one = "# HELP a A\n# TYPE a counter\na{m=\"1\"} 1\n\n# TYPE b histogram\nb_bucket{le=\"1\"} 2\nb_sum 3\n\n";
        let two = "# TYPE b histogram\nb_sum{m=\"2\"} 4\n\n# HELP a A\n# TYPE a counter\na{m=\"2\"} 5\n\n";
        let merged = merge([one, two].map(str::to_owned).into_iter());
        let expected = "# HELP a A\n# TYPE a counter\na{m=\"1\"} 1\na{m=\"2\"} 5\n# TYPE b histogram\nb_bucket{le=\"1\"} 2\nb_sum 3\nb_sum{m=\"2\"} 4\n";
        assert_eq!(merged, expected);
    }
}
