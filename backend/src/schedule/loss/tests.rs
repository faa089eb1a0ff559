//! Sessions that are lost and come back, without a GPU.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use forebay_bindings::cuda::CudaError;
use forebay_protocol::datatype::DataType;

use super::*;
use crate::config::ModelConfig;
use crate::engine::gpu::Tie;
use crate::engine::signature::Signature;
use crate::engine::{InputTensor, Parts, Run};
use crate::observe::statistics::Statistics;
use crate::schedule::batching::Batching;
use crate::schedule::{Computed, Demand, QueueLimits, Work};

/// Waits for a word before each run: whether the GPU is lost by it.
struct Fragile {
    signature: Signature,
    tie: Tie,
    words: mpsc::Receiver<bool>,
}

impl Session for Fragile {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, _: &[InputTensor<'_>], _: &[usize]) -> Result<Run, EngineError> {
        self.tie.check()?;
        if !self.words.recv().unwrap() {
            return Ok(Run { outputs: Vec::new(), gathering: Duration::ZERO });
        }
        let error = CudaError::Failed { call: "a call", code: 700, name: String::new(), text: "lost".into() };
        Err(self.tie.explain(&error.clone().into(), &Err(error)))
    }

    fn lost(&self) -> Option<&Arc<Gpu>> {
        self.tie.lost()
    }
}

struct Asked(mpsc::Sender<Result<Computed, RunError>>);

impl Work for Asked {
    fn inputs(&self) -> Vec<InputTensor<'_>> {
        vec![InputTensor { name: "x", datatype: DataType::Uint8, shape: &[0], data: Parts::One(&[]) }]
    }

    fn outputs(&self) -> &[usize] {
        &[]
    }

    fn done(self: Box<Self>, result: Result<Computed, RunError>) {
        self.0.send(result).unwrap();
    }
}

fn session(gpu: &Arc<Gpu>) -> (Box<dyn Session>, mpsc::Sender<bool>) {
    let (word, words) = mpsc::channel();
    let signature = Signature { inputs: Vec::new(), outputs: Vec::new() };
    (Box::new(Fragile { signature, tie: gpu.tie(), words }), word)
}

fn schedule(sessions: Vec<Box<dyn Session>>) -> Schedule {
    let batching = Batching::of(&ModelConfig::default()).unwrap();
    let limits = QueueLimits { requests: 100, bytes: 1000 };
    Schedule::start("test", sessions, batching, limits, Arc::new(Statistics::new("m", "1"))).unwrap()
}

fn ask(schedule: &Schedule) -> mpsc::Receiver<Result<Computed, RunError>> {
    let (answer, answers) = mpsc::channel();
    schedule.submit(Box::new(Asked(answer)), Demand::default()).unwrap().close();
    answers
}

#[test]
fn what_waits_is_refused_when_the_last_session_is_lost_and_a_new_one_goes_on() {
    let gpu = Arc::new(Gpu::new(3));
    let (first, word) = session(&gpu);
    let schedule = schedule(vec![first]);
    let (running, waiting) = (ask(&schedule), ask(&schedule));
    word.send(true).unwrap();
    let lost = running.recv().unwrap().unwrap_err();
    assert!(matches!(lost, RunError::Engine(EngineError::Lost { gpu: 3, .. })), "{lost}");
    let away = waiting.recv().unwrap().unwrap_err();
    assert!(matches!(away, RunError::Engine(EngineError::Away { .. })), "{away}");
    let refused = schedule.submit(Box::new(Asked(mpsc::channel().0)), Demand::default()).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "GPU 3 was lost (a call failed: lost (, 700)); it is being brought back; try again later"
    );
    assert_eq!((schedule.away(3), schedule.away(0)), (1, 0));
    let (second, word) = session(&gpu);
    schedule.restore(3, vec![second]);
    assert_eq!((schedule.away(3), schedule.why_away()), (0, None));
    word.send(false).unwrap();
    assert!(ask(&schedule).recv().unwrap().is_ok());
}

#[test]
fn a_session_on_another_gpu_goes_on() {
    let (lost, whole) = (Arc::new(Gpu::new(0)), Arc::new(Gpu::new(1)));
    let ((first, first_word), (second, second_word)) = (session(&lost), session(&whole));
    // The last that is free runs first.
    let schedule = schedule(vec![second, first]);
    let running = ask(&schedule);
    first_word.send(true).unwrap();
    assert!(running.recv().unwrap().is_err());
    for _ in 0..3 {
        second_word.send(false).unwrap();
        assert!(ask(&schedule).recv().unwrap().is_ok());
    }
    assert_eq!(schedule.why_away(), None);
    schedule.withdraw_lost();
    // The thread that had it answers first, and then puts it away.
    let began = Instant::now();
    while schedule.away(0) == 0 && began.elapsed() < Duration::from_mins(1) {
        std::thread::yield_now();
    }
    assert_eq!((schedule.away(0), schedule.away(1)), (1, 0));
}

#[test]
fn threads_end_with_the_schedule_even_when_sessions_are_away() {
    for sessions in [1, 2] {
        let (gpu, whole) = (Arc::new(Gpu::new(0)), Arc::new(Gpu::new(1)));
        let (first, word) = session(&gpu);
        let mut all = vec![first];
        all.extend((1..sessions).map(|_| session(&whole).0));
        all.reverse();
        let schedule = schedule(all);
        let running = ask(&schedule);
        word.send(true).unwrap();
        assert!(running.recv().unwrap().is_err());
        let shared = Arc::downgrade(&schedule.shared);
        drop(schedule);
        let limit = std::time::Instant::now() + Duration::from_secs(20);
        while shared.strong_count() > 0 {
            assert!(std::time::Instant::now() < limit, "{sessions} sessions: a thread is left");
            std::thread::yield_now();
        }
    }
}
