//! What KEDA's operator and the autoscaler do by a scaler's word: replicas are started, and ended when nothing was to do for a while. From
//! nothing to one by what is pushed, further by the autoscaler's formula; back to nothing after the cooldown, all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rig::process::until;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::keda::Keda;
use crate::process::Forebay;

/// Between two looks at the metrics.
const POLL: Duration = Duration::from_millis(50);
/// For so long nothing is active before all are ended.
const COOLDOWN: Duration = Duration::from_millis(200);

/// How a replica is started, by its number.
type Start = Arc<dyn Fn(usize) -> Forebay + Send + Sync>;

/// The operator.
pub(super) struct Operator {
    told: Arc<Told>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Told {
    /// That run or start.
    replicas: AtomicUsize,
    /// Times that there were none and one was started.
    wakes: AtomicU64,
    stop: AtomicBool,
}

impl Operator {
    /// Scales from none to `most` by the scaler at that port.
    pub(super) fn start(
        (port, metadata): (u16, &[(&str, &str)]),
        most: usize,
        start: impl Fn(usize) -> Forebay + Send + Sync + 'static,
    ) -> Self {
        let (keda, told, start) =
            (Keda::at(port, metadata), Arc::<Told>::default(), Arc::new(start) as Start);
        let telling = told.clone();
        let thread =
            thread::spawn(move || Runtime::new().unwrap().block_on(run(keda, most, &start, &telling)));
        Self { told, thread }
    }

    pub(super) fn until_replicas(&self, count: usize) {
        until(&format!("{count} replicas"), || {
            assert!(!self.thread.is_finished(), "the operator failed");
            (self.told.replicas.load(Ordering::SeqCst) == count).then_some(())
        });
    }

    /// Times that there were none and one was started.
    pub(super) fn wakes(&self) -> u64 {
        self.told.wakes.load(Ordering::SeqCst)
    }

    /// Ends it, and all that it started.
    pub(super) fn ended(self) {
        self.told.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

async fn run(mut keda: Keda, most: usize, start: &Start, told: &Told) {
    let specs = keda.specs().await.unwrap();
    let mut stream = keda.stream().await.unwrap();
    let mut replicas: Vec<JoinHandle<Forebay>> = Vec::new();
    let (mut is_active, mut last) = (false, Instant::now());
    while !told.stop.load(Ordering::SeqCst) {
        if let Ok(pushed) = timeout(POLL, stream.message()).await {
            is_active = pushed.unwrap().expect("the stream goes on").result;
        }
        let wanted = if is_active {
            last = Instant::now();
            desired(&mut keda, &specs, most).await.max(replicas.len())
        } else if last.elapsed() < COOLDOWN {
            replicas.len()
        } else {
            0
        };
        if wanted == 0 {
            end(std::mem::take(&mut replicas));
        }
        if wanted > 0 && replicas.is_empty() {
            told.wakes.fetch_add(1, Ordering::SeqCst);
        }
        for number in replicas.len()..wanted {
            let start = start.clone();
            replicas.push(thread::spawn(move || start(number)));
        }
        told.replicas.store(replicas.len(), Ordering::SeqCst);
    }
    end(replicas);
}

/// The autoscaler's formula, what there is by what one takes, rounded up, of the metric that wants the most: one at least.
async fn desired(keda: &mut Keda, specs: &[(String, f64)], most: usize) -> usize {
    let mut wanted = 0.0_f64;
    for (name, each) in specs {
        wanted = wanted.max(keda.metric(name).await.unwrap() / each);
    }
    (1..most).find(|count| *count as f64 >= wanted).unwrap_or(most)
}

/// They finish what they have.
fn end(replicas: Vec<JoinHandle<Forebay>>) {
    let replicas: Vec<Forebay> = replicas.into_iter().map(|replica| replica.join().unwrap()).collect();
    replicas.iter().for_each(Forebay::terminate);
    for replica in replicas {
        let said = replica.until_ended();
        assert!(!said.contains("cut"), "{said}");
    }
}
