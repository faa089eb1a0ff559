//! A shadow with an original that is told what to give.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use forebay_protocol::messages::InferInputTensor;

use super::*;
use crate::engine::Run;
use crate::engine::signature::{Signature, TensorSpec};

/// An original that gives what it is told, when it is told.
struct Told {
    signature: Signature,
    gives: mpsc::Receiver<Result<u8, EngineError>>,
}

impl Session for Told {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError> {
        assert_eq!((inputs.len(), inputs[0].name, outputs), (1, "x", &[0][..]));
        let given = self.gives.recv().map_err(|_| EngineError::Failed("it is over".into()))??;
        let data = Bytes::copy_from_slice(&[given]);
        Ok(Run { outputs: vec![OutputTensor { index: 0, shape: vec![1], data }], gathering: Duration::ZERO })
    }
}

fn shadow(share: f64, queue_bytes: usize) -> (Shadow, mpsc::Sender<Result<u8, EngineError>>) {
    let spec = |name: &str| {
        vec![TensorSpec { name: name.into(), datatype: DataType::Uint8, shape: vec![1], is_optional: false }]
    };
    let (tell, gives) = mpsc::channel();
    let session = Told { signature: Signature { inputs: spec("x"), outputs: spec("y") }, gives };
    let compare = Compare::Tolerance { absolute: 1.0, relative: 0.0 };
    let outputs = vec![Watched { index: 1, original: 0, datatype: DataType::Uint8, compare }];
    let terms = Terms { outputs, share, budget: 0.01, queue_bytes };
    (Shadow::start("shadowed", "2", Box::new(session), terms).unwrap(), tell)
}

fn offer(shadow: &Shadow, given: u8) {
    let request = ModelInferRequest {
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "UINT8".into(),
            shape: vec![1],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::from_static(&[7])],
        ..ModelInferRequest::default()
    };
    let output = |index, data: u8| OutputTensor { index, shape: vec![1], data: vec![data].into() };
    shadow.offer(request, &[output(0, 99), output(1, given)]);
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_differs_from_the_original_is_counted_and_told_once() {
    let (shadow, tell) = shadow(1.0, 100);
    for (variant, original) in [(5, 6), (5, 9), (5, 5)] {
        tell.send(Ok(original)).unwrap();
        offer(&shadow, variant);
    }
    until("all are compared", || shadow.counts().compared == 3);
    let all = Counts { compared: 3, disagreed: 1 };
    assert_eq!(shadow.counts(), all);
    assert_eq!(shadow.untold(), all);
    assert_eq!(shadow.untold(), Counts::default());
    shadow.take_back(all);
    assert_eq!(shadow.untold(), all);
    assert!(shadow.note_broken() && !shadow.note_broken());
}

#[test]
fn evidence_that_was_enough_once_stays_however_many_agree_later() {
    let (shadow, tell) = shadow(1.0, 100);
    for (number, original) in [9, 9].into_iter().chain([5; 30]).enumerate() {
        tell.send(Ok(original)).unwrap();
        offer(&shadow, 5);
        let so_far = u64::try_from(number).unwrap() + 1;
        until("it is compared", || shadow.counts().compared == so_far);
    }
    assert_eq!(shadow.broken_at(), Some(Counts { compared: 2, disagreed: 2 }));
}

#[test]
fn what_finds_no_room_is_dropped_and_an_original_that_fails_is_no_disagreement() {
    // A request of one byte, and one output of one byte that is watched; the first one is being computed.
    let (shadow, tell) = shadow(1.0, 4);
    for _ in 0..5 {
        offer(&shadow, 1);
    }
    tell.send(Ok(1)).unwrap();
    tell.send(Err(EngineError::Failed("for once".into()))).unwrap();
    until("both are through", || shadow.shared.lock().bytes == 0);
    assert_eq!(shadow.counts(), Counts { compared: 1, disagreed: 0 });
    let text = crate::observe::metrics::series();
    for (name, value) in [("dropped", 3), ("failed", 1), ("compared", 1)] {
        let line = format!("forebay_shadow_{name}{{model=\"shadowed\",version=\"2\"}}");
        // Another test of this process may count in the same series.
        let found = text.lines().find_map(|said| said.strip_prefix(&line)?.trim().parse::<u64>().ok());
        assert!(found.is_some_and(|found| found >= value), "{line}: {found:?}");
    }
}

#[test]
fn a_share_is_taken_by_chance_and_only_where_something_is_watched() {
    let (all, _tell) = shadow(1.0, 100);
    assert!(all.takes(&[0, 1]) && !all.takes(&[0]));
    let (none, _tell) = shadow(0.0, 100);
    assert!(!none.takes(&[1]));
    let (half, _tell) = shadow(0.5, 100);
    let taken = (0..1000).filter(|_| half.takes(&[1])).count();
    assert!((300..700).contains(&taken), "{taken}");
}
