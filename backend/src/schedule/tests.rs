use std::sync::mpsc;

use forebay_protocol::datatype::DataType;

use super::*;
use crate::config::{ModelConfig, SchedulingChoice};
use crate::engine::signature::{Signature, TensorSpec};
use crate::engine::{Parts, Run};
use crate::proto::ModelDynamicBatching;

/// How long a run says that it gathered its inputs; shorter than any run takes.
const GATHERING: Duration = Duration::from_nanos(1);

/// Waits for a go before each run, and gives back its input; data that starts with `p`, `b` or `r` makes it panic, fail, or
/// give one row too few.
struct Scripted {
    signature: Signature,
    runs: mpsc::Sender<usize>,
    go: mpsc::Receiver<()>,
}

impl Session for Scripted {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError> {
        let mut data = vec![0; inputs[0].data.len()];
        inputs[0].data.copy_into(&mut data);
        self.runs.send(data.len()).unwrap();
        self.go.recv().unwrap();
        let has = |byte| data.contains(&byte);
        let rows = data.len() - usize::from(has(b'r'));
        match () {
            () if has(b'p') => panic!("as the test asked"),
            () if has(b'b') => Err(EngineError::BadInput("as the test asked".into())),
            () => {
                let output = |&index| OutputTensor {
                    index,
                    shape: vec![i64::try_from(rows).unwrap()],
                    data: bytes::Bytes::copy_from_slice(&data[..rows]),
                };
                Ok(Run { outputs: outputs.iter().map(output).collect(), gathering: GATHERING })
            }
        }
    }
}

type Answer = (String, Result<Computed, RunError>);

struct Asked {
    data: String,
    shape: [i64; 1],
    answers: mpsc::Sender<Answer>,
}

impl Work for Asked {
    fn inputs(&self) -> Vec<InputTensor<'_>> {
        let datatype = DataType::Uint8;
        vec![InputTensor { name: "x", datatype, shape: &self.shape, data: Parts::One(self.data.as_bytes()) }]
    }

    fn outputs(&self) -> &[usize] {
        &[0]
    }

    fn done(self: Box<Self>, result: Result<Computed, RunError>) {
        self.answers.send((self.data, result)).unwrap();
    }
}

/// A schedule with sessions that do as they are told.
struct Bench {
    schedule: Schedule,
    /// One a session.
    go: Vec<mpsc::Sender<()>>,
    runs: Vec<mpsc::Receiver<usize>>,
    asked: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
}

fn bench(sessions: usize, max_batch_size: i32, dynamic: ModelDynamicBatching) -> Bench {
    let scheduling_choice = Some(SchedulingChoice::DynamicBatching(dynamic));
    let config = ModelConfig { max_batch_size, scheduling_choice, ..ModelConfig::default() };
    let spec = || {
        vec![TensorSpec { name: "x".into(), datatype: DataType::Uint8, shape: vec![-1], is_optional: false }]
    };
    let (mut go, mut runs, mut scripted) = (Vec::new(), Vec::new(), Vec::<Box<dyn Session>>::new());
    for _ in 0..sessions {
        let ((go_here, on_go), (ran, runs_here)) = (mpsc::channel(), mpsc::channel());
        let signature = Signature { inputs: spec(), outputs: spec() };
        scripted.push(Box::new(Scripted { signature, runs: ran, go: on_go }));
        go.push(go_here);
        runs.push(runs_here);
    }
    let limits = QueueLimits { requests: 100, bytes: 1000 };
    let statistics = Arc::new(Statistics::new("m", "1"));
    let schedule =
        Schedule::start("test", scripted, Batching::of(&config).unwrap(), limits, statistics).unwrap();
    let (asked, answers) = mpsc::channel();
    Bench { schedule, go, runs, asked, answers }
}

impl Bench {
    /// Asks with one row a byte.
    fn ask(&self, data: &str) -> Ticket<'_> {
        self.ask_for(data, None)
    }

    fn ask_for(&self, data: &str, deadline: Option<Instant>) -> Ticket<'_> {
        let rows = data.len() as u64;
        let shape = [i64::try_from(rows).unwrap()];
        let work = Asked { data: data.to_owned(), shape, answers: self.asked.clone() };
        let shapes = Some(batch::shapes(&[0], &work.inputs(), work.outputs()));
        self.schedule.submit(Box::new(work), Demand { rows, shapes, deadline, ..Demand::default() }).unwrap()
    }

    fn ask_all(&self, all: &[&str]) {
        for data in all {
            self.ask(data).close();
        }
    }

    /// Asks, lets the session run it, and waits until it does.
    fn busy_with(&self, data: &str) {
        self.ask(data).close();
        assert_eq!(self.runs[0].recv().unwrap(), data.len());
    }

    fn answer(&self) -> Answer {
        self.answers.recv().unwrap()
    }
}

fn data((_, result): &Answer) -> &[u8] {
    &result.as_ref().unwrap().outputs[0].data
}

#[test]
fn what_came_while_the_session_was_busy_runs_together_and_each_gets_its_own() {
    let bench = bench(1, 8, ModelDynamicBatching::default());
    bench.busy_with("x");
    bench.ask_all(&["a", "cc", "ddd"]);
    bench.go[0].send(()).unwrap();
    assert_eq!(data(&bench.answer()), b"x");
    assert_eq!(bench.runs[0].recv().unwrap(), 6, "one run on all rows");
    bench.go[0].send(()).unwrap();
    for expected in ["a", "cc", "ddd"] {
        let answer = bench.answer();
        assert_eq!((answer.0.as_str(), data(&answer)), (expected, expected.as_bytes()));
    }
    let statistics = bench.schedule.shared.statistics.snapshot("m", "1");
    assert_eq!((statistics.execution_count, statistics.inference_count), (2, 7));
    let gathered = statistics.inference_stats.unwrap().compute_input.unwrap();
    // Each request waited for all of its run.
    assert_eq!((gathered.count, Duration::from_nanos(gathered.ns)), (4, 4 * GATHERING));
}

#[test]
fn a_request_that_fails_its_batch_fails_alone() {
    for wrong in ["b", "p"] {
        let bench = bench(1, 8, ModelDynamicBatching::default());
        bench.busy_with("x");
        bench.ask_all(&["a", wrong, "c"]);
        (0..5).for_each(|_| bench.go[0].send(()).unwrap());
        let _ = bench.answer();
        assert_eq!(data(&bench.answer()), b"a");
        assert!(bench.answer().1.is_err());
        assert_eq!(data(&bench.answer()), b"c");
    }
}

#[test]
fn a_model_that_does_not_batch_runs_its_requests_alone() {
    let bench = bench(1, 8, ModelDynamicBatching::default());
    bench.busy_with("x");
    bench.ask_all(&["a", "r"]);
    (0..4).for_each(|_| bench.go[0].send(()).unwrap());
    let _ = bench.answer();
    assert_eq!(data(&bench.answer()), b"a");
    assert_eq!(data(&bench.answer()), b"");
    let runs: Vec<usize> = bench.runs[0].try_iter().collect();
    assert_eq!(runs, [2, 1, 1]);
}

#[test]
fn a_request_that_is_not_waited_for_leaves_the_queue() {
    let bench = bench(1, 8, ModelDynamicBatching::default());
    bench.busy_with("x");
    let left = bench.ask("left");
    bench.ask("stays").close();
    drop(left);
    bench.go[0].send(()).unwrap();
    let _ = bench.answer();
    assert_eq!(bench.runs[0].recv().unwrap(), 5);
    bench.go[0].send(()).unwrap();
    assert_eq!(bench.answer().0, "stays");
}

#[test]
fn a_deadline_that_passed_is_not_run() {
    let bench = bench(1, 8, ModelDynamicBatching::default());
    bench.busy_with("x");
    bench.ask_for("late", Some(Instant::now())).close();
    bench.go[0].send(()).unwrap();
    let _ = bench.answer();
    assert!(matches!(bench.answer().1, Err(RunError::Expired)));
    assert!(bench.runs[0].try_recv().is_err());
}

#[test]
fn answers_keep_the_order_of_their_requests_where_that_is_promised() {
    let dynamic = ModelDynamicBatching { preserve_ordering: true, ..ModelDynamicBatching::default() };
    let bench = bench(2, 1, dynamic);
    // Both sessions are at work before either ends; which has which is up to the system.
    bench.ask("a").close();
    bench.ask("b").close();
    (0..2).for_each(|session| assert_eq!(bench.runs[session].recv().unwrap(), 1));
    for go in bench.go.iter().rev() {
        go.send(()).unwrap();
    }
    assert_eq!([bench.answer().0, bench.answer().0], ["a", "b"]);
}

#[test]
fn what_waits_when_the_model_goes_is_still_answered() {
    let bench = bench(1, 1, ModelDynamicBatching::default());
    bench.ask_all(&["a", "b"]);
    let Bench { schedule, go, answers, runs: _runs, .. } = bench;
    drop(schedule);
    for expected in ["a", "b"] {
        go[0].send(()).unwrap();
        assert_eq!(answers.recv().unwrap().0, expected);
    }
}

/// Says which thread it ran on.
struct Telling(Signature);

impl Session for Telling {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn run(&mut self, _: &[InputTensor<'_>], _: &[usize]) -> Result<Run, EngineError> {
        let data = std::thread::current().name().unwrap_or_default().to_owned().into_bytes();
        let outputs = vec![OutputTensor { index: 0, shape: vec![1], data: data.into() }];
        Ok(Run { outputs, gathering: Duration::ZERO })
    }
}

#[test]
fn short_runs_are_a_tasks_and_long_ones_a_threads() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("tokio").build().unwrap();
    let session = Telling(Signature { inputs: Vec::new(), outputs: Vec::new() });
    let batching = Batching::of(&ModelConfig::default()).unwrap();
    let limits = QueueLimits { requests: 100, bytes: 1000 };
    let statistics = Arc::new(Statistics::new("m", "1"));
    let schedule = Schedule::start("m", vec![Box::new(session)], batching, limits, statistics).unwrap();
    let (asked, answers) = mpsc::channel();
    let ran_on = |lately: Duration| {
        // An answer is out a moment before its session is back, and who has the session takes what comes in that moment.
        while schedule.shared.lock().free.is_empty() {
            std::thread::yield_now();
        }
        schedule.shared.recent_ns.store(u64::try_from(lately.as_nanos()).unwrap(), Ordering::Relaxed);
        let work = Asked { data: "s".to_owned(), shape: [1], answers: asked.clone() };
        schedule.submit(Box::new(work), Demand { rows: 1, ..Demand::default() }).unwrap().close();
        String::from_utf8(data(&answers.recv().unwrap()).to_vec()).unwrap()
    };
    let _inside = runtime.enter();
    let on = [Duration::ZERO, SHORT_RUN, SHORT_RUN * 2].map(ran_on);
    assert_eq!(on, ["session m", "tokio", "session m"], "nothing is known at first");
}

#[test]
fn a_model_that_goes_while_a_task_runs_it_leaves_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let bench = bench(1, 0, ModelDynamicBatching::default());
    bench.schedule.shared.recent_ns.store(1, Ordering::Relaxed);
    let inside = runtime.enter();
    bench.busy_with("x");
    drop(inside);
    let Bench { schedule, go, answers, runs, .. } = bench;
    drop(schedule);
    go[0].send(()).unwrap();
    assert_eq!(answers.recv().unwrap().0, "x");
    assert_eq!(runs[0].recv(), Err(mpsc::RecvError), "the session is gone, so its thread is");
}

#[test]
fn requests_that_come_together_are_all_answered_once_by_tasks_and_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let session = || Telling(Signature { inputs: Vec::new(), outputs: Vec::new() });
    let batching = Batching::of(&ModelConfig::default()).unwrap();
    let limits = QueueLimits { requests: 10_000, bytes: 1000 };
    let statistics = Arc::new(Statistics::new("m", "1"));
    let sessions: Vec<Box<dyn Session>> = vec![Box::new(session()), Box::new(session())];
    let schedule = Schedule::start("m", sessions, batching, limits, statistics).unwrap();
    let (asked, answers) = mpsc::channel();
    let ask = |number: usize| {
        // Runs seem long every now and then, which moves all from tasks to threads and, soon, back.
        if number % 100 == 99 {
            schedule.shared.took(SHORT_RUN * 50);
        }
        let data = number.to_string();
        let work = Asked { data, shape: [1], answers: asked.clone() };
        schedule.submit(Box::new(work), Demand { rows: 1, ..Demand::default() }).unwrap().close();
    };
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (runtime, ask) = (&runtime, &ask);
            scope.spawn(move || {
                let _inside = runtime.enter();
                (0..2000).filter(|number| number % 4 == first).for_each(ask);
            });
        }
    });
    let mut answered: Vec<String> = (0..2000).map(|_| answers.recv().unwrap().0).collect();
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len(), 2000);
}
