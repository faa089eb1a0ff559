//! Records as they are written by a recorder and read again, and what is done to them between.

mod segments;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_protocol::messages::{Choice, InferParameter, InferRequestedOutputTensor};
use proptest::prelude::*;

use super::read::RecordError;
use super::segment::{Begun, Header, SegmentError};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// A folder for records, and a key.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        place.set_key(b'1');
        place
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("records")
    }

    fn key_file(&self) -> PathBuf {
        self.root.path().join("key")
    }

    fn set_key(&self, digit: u8) {
        let other = self.root.path().join("other");
        fs::write(&other, [digit; 64]).unwrap();
        fs::rename(other, self.key_file()).unwrap();
    }

    fn config(&self) -> RecordConfig {
        RecordConfig {
            models: vec!["m".into(), "other".into()],
            folder: self.folder(),
            key_file: self.key_file(),
            share: 1.0,
            bytes: 1 << 20,
            age: Duration::from_hours(1),
            queue_bytes: 1 << 20,
        }
    }

    fn recorder(&self) -> Arc<Recorder> {
        Recorder::start(&self.config()).unwrap()
    }

    fn key(&self) -> Key {
        Key::read("--data-key-file", &self.key_file()).unwrap()
    }

    fn read(&self, model: &str) -> Vec<Result<Recorded, RecordError>> {
        read(&self.folder(), &self.key(), model).collect()
    }

    /// The first values of what was recorded, where nothing is wrong.
    fn recorded(&self, model: &str) -> Vec<Bytes> {
        let recorded = self.read(model).into_iter().map(Result::unwrap);
        recorded.map(|recorded| recorded.request.raw_input_contents[0].clone()).collect()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Waits until it is so with the segments.
    fn until(&self, what: &str, is_so: impl Fn(&[PathBuf]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(&self.segments()) {
            assert!(Instant::now() < until, "{what}: {:?}", self.segments());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn request(model: &str, data: impl Into<Bytes>) -> ModelInferRequest {
    let data = data.into();
    ModelInferRequest {
        model_name: model.into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "UINT8".into(),
            shape: vec![i64::try_from(data.len()).unwrap()],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![data],
        ..ModelInferRequest::default()
    }
}

/// Ends it, with all on disk.
fn end(recorder: &Recorder) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(recorder.end(PATIENCE));
}

/// Waits until nothing is in the queue.
fn rest(recorder: &Recorder) {
    let all = recorder.queue.most();
    while !recorder.queue.reserve(all) {
        std::thread::yield_now();
    }
    recorder.queue.release(all);
}

#[test]
fn a_request_is_read_back_as_it_was_asked_and_without_its_id() {
    let place = Place::new();
    let recorder = place.recorder();
    let mut asked = request("m", &b"abc"[..]);
    asked.outputs.push(InferRequestedOutputTensor { name: "y".into(), ..Default::default() });
    let transport = InferParameter { choice: Some(Choice::Int64(3)) };
    let travelling = ModelInferRequest {
        id: "secret id".into(),
        parameters: [("priority".to_owned(), transport)].into(),
        ..asked.clone()
    };
    recorder.offer("3", &travelling, true);
    end(&recorder);
    let found = place.read("m").pop().unwrap().unwrap();
    assert!(found.is_whole && found.request == asked, "{found:?}");
}

#[test]
fn parameters_are_left_out_of_what_is_recorded() {
    let place = Place::new();
    let recorder = place.recorder();
    let mut asked = request("m", &b"abc"[..]);
    let word = |text: &str| InferParameter { choice: Some(Choice::String(text.into())) };
    asked.id = "secret id".into();
    asked.model_version = String::new();
    asked.parameters.insert("token".into(), word("secret"));
    asked.inputs[0].parameters.insert("token".into(), word("secret"));
    asked.outputs.push(InferRequestedOutputTensor { name: "y".into(), ..Default::default() });
    let before = now_ms();
    recorder.offer("3", &asked, true);
    recorder.offer("3", &request("unasked", &b"abc"[..]), true);
    recorder.offer("4", &request("other", &b"xyz"[..]), true);
    end(&recorder);
    let found = place.read("m").pop().unwrap().unwrap();
    assert!((before..=now_ms()).contains(&found.time_ms));
    let kept = ModelInferRequest { model_version: "3".into(), ..request("m", &b"abc"[..]) };
    assert!(!found.is_whole && found.request == kept, "{found:?}");
    assert_eq!((place.read("m").len(), place.recorded("other")), (1, vec![Bytes::from("xyz")]));
    assert_eq!(place.read("unasked").len(), 0);
    for segment in place.segments() {
        assert_eq!(fs::metadata(&segment).unwrap().permissions().mode() & 0o777, 0o600);
        let bytes = fs::read(segment).unwrap();
        assert!(!bytes.windows(3).any(|some| some == b"abc" || some == b"xyz"), "it is encrypted");
    }
    assert_eq!(fs::metadata(place.folder()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn by_chance_means_none_at_0_all_at_1_and_about_the_share_between() {
    for (share, expected) in [(0.0, 0..=0), (1.0, 2000..=2000), (0.25, 350..=650)] {
        let place = Place::new();
        let config = RecordConfig { share, queue_bytes: 8 << 20, ..place.config() };
        let recorder = Recorder::start(&config).unwrap();
        for _ in 0..2000 {
            recorder.offer("1", &request("m", &b"a"[..]), true);
        }
        end(&recorder);
        let found = place.read("m").len();
        assert!(expected.contains(&found), "{share}: {found}");
    }
}

#[test]
fn a_restart_goes_on_and_replicas_share_a_folder() {
    let place = Place::new();
    let first = place.recorder();
    first.offer("1", &request("m", &b"one"[..]), true);
    end(&first);
    // Segments are in order by the millisecond.
    let ended = now_ms();
    while now_ms() <= ended {
        std::thread::yield_now();
    }
    let both = [place.recorder(), place.recorder()];
    both[0].offer("1", &request("m", &b"two"[..]), true);
    both[1].offer("1", &request("m", &b"three"[..]), true);
    for recorder in &both {
        end(recorder);
    }
    let mut found = place.recorded("m");
    assert_eq!(found[0], "one");
    found.sort();
    assert_eq!(found, ["one", "three", "two"]);
}

#[test]
fn more_than_may_be_kept_is_never_on_disk_and_the_newest_stay() {
    let place = Place::new();
    let recorder = place.recorder();
    for number in 0..400_u32 {
        let mut data = vec![0; 10_000];
        data[..4].copy_from_slice(&number.to_le_bytes());
        recorder.offer("1", &request("m", data), true);
        rest(&recorder);
        let bytes: u64 = folder::files(folder::SEGMENTS, &place.folder()).unwrap().values().sum();
        assert!(bytes <= 1 << 20, "{bytes}");
    }
    end(&recorder);
    let numbers: Vec<u32> =
        place.recorded("m").iter().map(|data| u32::from_le_bytes(data[..4].try_into().unwrap())).collect();
    assert_eq!(numbers.last(), Some(&399));
    assert!((70..110).contains(&numbers.len()), "{numbers:?}");
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
}

#[test]
fn what_can_never_be_kept_or_waits_behind_too_much_is_not_recorded() {
    let place = Place::new();
    let recorder = Recorder::start(&RecordConfig { queue_bytes: 4 << 20, ..place.config() }).unwrap();
    recorder.offer("1", &request("m", vec![1; 2 << 20]), true);
    recorder.offer("1", &request("m", vec![1; 5 << 20]), true);
    rest(&recorder);
    assert!(recorder.queue.reserve((4 << 20) - 1));
    recorder.offer("1", &request("m", vec![2; 100]), true);
    recorder.queue.release((4 << 20) - 1);
    recorder.offer("1", &request("m", vec![3; 100]), true);
    end(&recorder);
    assert_eq!(place.recorded("m"), [Bytes::from(vec![3; 100])]);
}

#[test]
fn what_is_too_old_goes_though_no_request_comes() {
    let place = Place::new();
    let recorder = Recorder::start(&RecordConfig { age: Duration::from_secs(1), ..place.config() }).unwrap();
    recorder.offer("1", &request("m", &b"a"[..]), true);
    place.until("it was recorded", |segments| !segments.is_empty());
    place.until("it went", <[PathBuf]>::is_empty);
    end(&recorder);
}

#[test]
fn another_key_is_used_from_then_on_and_the_former_opens_what_came_before() {
    let place = Place::new();
    let former = place.key();
    let recorder = place.recorder();
    recorder.offer("1", &request("m", &b"before"[..]), true);
    place.until("it was recorded", |segments| segments.len() == 1);
    place.set_key(b'2');
    place.until("records under the new key", |segments| {
        recorder.offer("1", &request("m", &b"after"[..]), true);
        segments.len() == 2
    });
    // What is no key leaves the one that there was.
    place.set_key(b'x');
    end(&recorder);
    let by = |key: &Key| read(&place.folder(), key, "m").partition::<Vec<_>, _>(Result::is_ok);
    let (found, wrong) = by(&former);
    assert_eq!(found[0].as_ref().unwrap().request.raw_input_contents[0], "before");
    let wrong = wrong[0].as_ref().unwrap_err().to_string();
    assert!(wrong.contains(".record was written with another key: its id is "), "{wrong}");
    place.set_key(b'2');
    let (found, wrong) = by(&place.key());
    assert_eq!((found.is_empty(), wrong.len()), (false, 1));
}

#[test]
fn a_folder_that_goes_away_costs_records_alone_and_is_used_again_when_it_is_back() {
    let place = Place::new();
    let recorder = place.recorder();
    let offer = || recorder.offer("1", &request("m", &b"a"[..]), true);
    offer();
    place.until("it was recorded", |segments| !segments.is_empty());
    fs::remove_dir_all(place.folder()).unwrap();
    for _ in 0..10 {
        offer();
    }
    fs::create_dir(place.folder()).unwrap();
    place.until("it is used again", |segments| {
        offer();
        !segments.is_empty()
    });
    end(&recorder);
    assert!(!place.recorded("m").is_empty());
}

#[test]
fn a_recorder_that_can_not_work_is_refused_at_start() {
    let place = Place::new();
    let refused = |config: RecordConfig| Recorder::start(&config).map(|_| ()).unwrap_err().to_string();
    let folder = place.root.path().join("no/such");
    let said = refused(RecordConfig { folder, ..place.config() });
    assert!(said.starts_with("--record-dir: can't make the folder") && said.contains("no/such"), "{said}");
    let said = refused(RecordConfig { key_file: place.root.path().join("none"), ..place.config() });
    assert!(said.starts_with("--record-key-file: can't read") && said.contains("none"), "{said}");
    place.set_key(b'z');
    let said = refused(place.config());
    assert!(said.contains("64 bytes that are no key") && said.contains("openssl rand -hex 32"), "{said}");
}

#[test]
fn a_record_never_takes_more_than_it_counts_as() {
    proptest!(|(
        names in prop::collection::vec("[a-zé]{0,40}", 0..5),
        shape in prop::collection::vec(any::<i64>(), 0..9),
        bytes in 0_usize..2000,
        version in "[0-9]{1,19}",
        is_stripped in any::<bool>(),
    )| {
        let input = |name: &String| InferInputTensor {
            name: name.clone(),
            datatype: "FP32".into(),
            shape: shape.clone(),
            ..InferInputTensor::default()
        };
        let parameters = [("p".repeat(9), InferParameter { choice: None })];
        let asked = ModelInferRequest {
            model_name: "m".repeat(255),
            parameters: parameters.into_iter().filter(|_| is_stripped).collect(),
            inputs: names.iter().map(input).collect(),
            raw_input_contents: names.iter().map(|_| vec![1; bytes].into()).collect(),
            ..ModelInferRequest::default()
        };
        let frame = Frame::of(&recorded(&version, &asked, !is_stripped, u64::MAX));
        prop_assert!(frame.length() <= counted(&asked) as u64);
    });
}

#[test]
fn a_thread_that_is_gone_takes_nothing_and_keeps_no_bytes() {
    let (to_writer, messages) = mpsc::channel();
    drop(messages);
    let recorder = Recorder {
        models: HashMap::from([("m".to_owned(), Arc::new(Recording::new("m")))]),
        share: 1.0,
        queue: Arc::new(Queue::new(2000)),
        to_writer,
        ended: Mutex::new(None),
    };
    for _ in 0..10 {
        recorder.offer("1", &request("m", &b"a"[..]), true);
    }
    assert!(recorder.queue.reserve(2000));
}
