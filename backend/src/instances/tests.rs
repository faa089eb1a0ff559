use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use super::*;
use crate::signature::Signature;

/// Waits for a go before each run; an input named `panic` or `bad` makes it do so.
struct Scripted {
    signature: Signature,
    go: Receiver<()>,
}

impl Session for Scripted {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], _: &[usize]) -> Result<Vec<OutputTensor>, EngineError> {
        self.go.recv().unwrap();
        match inputs[0].name {
            "panic" => panic!("as the test asked"),
            "bad" => Err(EngineError::BadInput("as the test asked".into())),
            _ => Ok(Vec::new()),
        }
    }
}

struct Asked {
    name: &'static str,
    abandoned: Arc<AtomicBool>,
    results: mpsc::Sender<(&'static str, Result<Computed, RunError>)>,
}

impl Work for Asked {
    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    fn inputs(&self) -> Vec<InputTensor<'_>> {
        let datatype = forebay_protocol::datatype::DataType::Uint8;
        vec![InputTensor { name: self.name, datatype, shape: &[0], data: &[] }]
    }

    fn outputs(&self) -> &[usize] {
        &[]
    }

    fn done(self: Box<Self>, result: Result<Computed, RunError>) {
        self.results.send((self.name, result)).unwrap();
    }
}

struct Bench {
    instances: Instances,
    go: Sender<()>,
    asked: mpsc::Sender<(&'static str, Result<Computed, RunError>)>,
    results: mpsc::Receiver<(&'static str, Result<Computed, RunError>)>,
}

fn bench(limits: QueueLimits) -> Bench {
    let (go, on_go) = crossbeam_channel::unbounded();
    let signature = Signature { inputs: Vec::new(), outputs: Vec::new() };
    let session: Box<dyn Session> = Box::new(Scripted { signature, go: on_go });
    let instances =
        Instances::start("test", vec![session], limits, &Arc::new(ModelMetrics::new("m", "1"))).unwrap();
    let (asked, results) = mpsc::channel();
    Bench { instances, go, asked, results }
}

impl Bench {
    fn submit(&self, name: &'static str, bytes: usize) -> Result<Arc<AtomicBool>, QueueError> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let work = Asked { name, abandoned: abandoned.clone(), results: self.asked.clone() };
        self.instances.submit(Box::new(work), bytes).map(|()| abandoned)
    }

    /// Waits until the session holds the one request it is at.
    fn wait_until_waiting(&self, requests: usize) {
        while self.instances.waiting.requests.load(Ordering::Relaxed) != requests {
            std::thread::yield_now();
        }
    }
}

const WIDE: QueueLimits = QueueLimits { requests: 100, bytes: 1000 };

#[test]
fn a_full_queue_refuses_by_requests_and_by_bytes_and_takes_again_when_it_emptied() {
    let bench = bench(QueueLimits { requests: 2, bytes: 100 });
    bench.submit("running", 0).unwrap();
    bench.wait_until_waiting(0);
    bench.submit("a", 60).unwrap();
    assert_eq!(bench.submit("b", 41).unwrap_err(), QueueError::Bytes { limit: 100 });
    bench.submit("c", 40).unwrap();
    assert_eq!(bench.submit("d", 0).unwrap_err(), QueueError::Requests { limit: 2 });
    for _ in 0..3 {
        bench.go.send(()).unwrap();
        bench.results.recv().unwrap().1.unwrap();
    }
    bench.submit("e", 100).unwrap();
}

#[test]
fn abandoned_requests_are_skipped() {
    let bench = bench(WIDE);
    bench.submit("running", 0).unwrap();
    bench.wait_until_waiting(0);
    bench.submit("left", 0).unwrap().store(true, Ordering::Relaxed);
    bench.submit("stays", 0).unwrap();
    for expected in ["running", "stays"] {
        bench.go.send(()).unwrap();
        assert_eq!(bench.results.recv().unwrap().0, expected);
    }
}

#[test]
fn a_panic_fails_its_request_only() {
    let bench = bench(WIDE);
    for name in ["panic", "bad", "good"] {
        bench.submit(name, 0).unwrap();
        bench.go.send(()).unwrap();
    }
    assert!(matches!(bench.results.recv().unwrap().1, Err(RunError::Panicked)));
    assert!(matches!(bench.results.recv().unwrap().1, Err(RunError::Engine(EngineError::BadInput(_)))));
    assert!(bench.results.recv().unwrap().1.is_ok());
}

#[test]
fn what_waits_when_the_model_goes_is_still_answered() {
    let bench = bench(WIDE);
    bench.submit("a", 0).unwrap();
    bench.submit("b", 0).unwrap();
    let Bench { instances, go, results, .. } = bench;
    drop(instances);
    for expected in ["a", "b"] {
        go.send(()).unwrap();
        assert_eq!(results.recv().unwrap().0, expected);
    }
}
