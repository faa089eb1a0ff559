//! Records as they are written by a recorder and read again, and what is done to them between.

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
/// Written by tests/clients/records.py --golden.
const GOLDEN: &[u8] = include_bytes!("golden.record");
/// Of the golden segment.
const GOLDEN_KEY: Key = Key::of([7; 32]);

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
fn inputs_are_read_back_and_nothing_else_of_a_request() {
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
    recorder.offer("3", &asked);
    recorder.offer("3", &request("unasked", &b"abc"[..]));
    recorder.offer("4", &request("other", &b"xyz"[..]));
    end(&recorder);
    let found = place.read("m").pop().unwrap().unwrap();
    assert!((before..=now_ms()).contains(&found.time_ms));
    let kept = ModelInferRequest { model_version: "3".into(), ..request("m", &b"abc"[..]) };
    assert_eq!(found.request, kept);
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
            recorder.offer("1", &request("m", &b"a"[..]));
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
    first.offer("1", &request("m", &b"one"[..]));
    end(&first);
    let both = [place.recorder(), place.recorder()];
    both[0].offer("1", &request("m", &b"two"[..]));
    both[1].offer("1", &request("m", &b"three"[..]));
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
        recorder.offer("1", &request("m", data));
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
    recorder.offer("1", &request("m", vec![1; 2 << 20]));
    recorder.offer("1", &request("m", vec![1; 5 << 20]));
    rest(&recorder);
    assert!(recorder.queue.reserve((4 << 20) - 1));
    recorder.offer("1", &request("m", vec![2; 100]));
    recorder.queue.release((4 << 20) - 1);
    recorder.offer("1", &request("m", vec![3; 100]));
    end(&recorder);
    assert_eq!(place.recorded("m"), [Bytes::from(vec![3; 100])]);
}

#[test]
fn what_is_too_old_goes_though_no_request_comes() {
    let place = Place::new();
    let recorder = Recorder::start(&RecordConfig { age: Duration::from_secs(1), ..place.config() }).unwrap();
    recorder.offer("1", &request("m", &b"a"[..]));
    place.until("it was recorded", |segments| !segments.is_empty());
    place.until("it went", <[PathBuf]>::is_empty);
    end(&recorder);
}

#[test]
fn another_key_is_used_from_then_on_and_the_former_opens_what_came_before() {
    let place = Place::new();
    let former = place.key();
    let recorder = place.recorder();
    recorder.offer("1", &request("m", &b"before"[..]));
    place.until("it was recorded", |segments| segments.len() == 1);
    place.set_key(b'2');
    place.until("records under the new key", |segments| {
        recorder.offer("1", &request("m", &b"after"[..]));
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
    let offer = || recorder.offer("1", &request("m", &b"a"[..]));
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

/// A segment of these records, not finished.
fn segment(folder: &Path, key: &Key, salt: u8, records: &[&[u8]]) -> PathBuf {
    let header = Header::new(1_800_000_000_000, [salt; 32], "m");
    let path = folder.join(folder::SEGMENTS.salted(header.began_ms, &header.salt).to_string());
    let mut begun = Begun::begin(path.clone(), key, &header).unwrap();
    for (time, data) in (header.began_ms..).zip(records) {
        let request = inputs("2", &request("m", data.to_vec()));
        begun = begun.append(Frame::of(time, &request)).unwrap();
    }
    begun.finish().unwrap();
    path
}

/// What comes of the file when it is read: values, then what is wrong.
fn outcome(folder: &Path) -> (Vec<Bytes>, Option<RecordError>) {
    let mut wrong = None;
    let good =
        read(folder, &GOLDEN_KEY, "m").map_while(|item| item.map_err(|error| wrong = Some(error)).ok());
    let values = good.map(|recorded| recorded.request.raw_input_contents[0].clone()).collect();
    (values, wrong)
}

#[test]
fn the_format_is_the_golden_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"", b"defg"]);
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes, GOLDEN, "another format is another version");
    let (values, wrong) = outcome(folder.path());
    assert_eq!((values, wrong.is_none()), (vec!["abc".into(), "".into(), "defg".into()], true));
}

#[test]
fn cut_anywhere_it_gives_what_is_whole_and_says_that_it_is_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"", b"defg"]);
    let mut whole = Vec::new();
    for length in 0..GOLDEN.len() {
        fs::write(&path, &GOLDEN[..length]).unwrap();
        let (values, wrong) = outcome(folder.path());
        // Between two records it is as one that is being written.
        let is_unfinished = wrong.as_ref().is_none_or(RecordError::is_unfinished);
        let is_begun = length >= 16 || length == 0;
        assert_eq!(is_unfinished, is_begun, "{length}: {wrong:?}");
        whole.push(values.len());
    }
    assert!(whole.is_sorted() && whole.last() == Some(&3), "{whole:?}");
    // As some file systems leave it.
    let whole = GOLDEN.len() - usize::try_from(segment::END_BYTES).unwrap();
    let zeros = [&GOLDEN[..whole], &[0; 5000]].concat();
    fs::write(&path, zeros).unwrap();
    let (values, wrong) = outcome(folder.path());
    assert!(values.len() == 3 && wrong.unwrap().is_unfinished());
}

#[test]
fn whatever_byte_is_changed_no_other_value_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"", b"defg"]);
    let values: Vec<Bytes> = vec!["abc".into(), "".into(), "defg".into()];
    for at in 0..GOLDEN.len() {
        let mut changed = GOLDEN.to_vec();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let (found, wrong) = outcome(folder.path());
        assert!(values.starts_with(&found), "{at}: {found:?}");
        assert!(wrong.is_some(), "{at}");
    }
}

#[test]
fn records_that_change_places_or_segments_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"xyz"]);
    let other = segment(folder.path(), &GOLDEN_KEY, 6, &[b"abc", b"xyz"]);
    let (bytes, others) = (fs::read(&path).unwrap(), fs::read(&other).unwrap());
    fs::remove_file(other).unwrap();
    let header = usize::try_from(Header::length("m")).unwrap();
    let record = (bytes.len() - header - usize::try_from(segment::END_BYTES).unwrap()) / 2;
    let parts = |bytes: &[u8]| -> [Vec<u8>; 4] {
        let (head, rest) = bytes.split_at(header);
        let (first, rest) = rest.split_at(record);
        let (second, end) = rest.split_at(record);
        [head, first, second, end].map(<[u8]>::to_vec)
    };
    let ([head, first, second, end], [_, foreign, _, _]) = (parts(&bytes), parts(&others));
    let wrong = |parts: &[&Vec<u8>]| {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        fs::write(&path, bytes).unwrap();
        let (values, wrong) = outcome(folder.path());
        (values.len(), wrong.map(|wrong| wrong.to_string()).unwrap_or_default())
    };
    assert_eq!(wrong(&[&head, &first, &second, &end]), (2, String::new()));
    for (parts, values, said) in [
        ([&head, &second, &first, &end], 0, "record 0 was changed or moved"),
        ([&head, &first, &first, &end], 1, "record 1 was changed or moved"),
        ([&head, &foreign, &second, &end], 0, "record 0 was changed or moved"),
        ([&head, &first, &end, &end], 1, "record 1 was changed or moved"),
    ] {
        let (found, wrong) = wrong(&parts);
        assert!(found == values && wrong.contains(said), "{found} {wrong}");
    }
    assert!(wrong(&[&head, &first, &second, &end, &first]).1.contains("has bytes behind its end"));
}

#[test]
fn what_is_no_segment_or_of_another_version_or_key_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc"]);
    let said = |bytes: &[u8], key: &Key| {
        fs::write(&path, bytes).unwrap();
        read(folder.path(), key, "m").next().unwrap().unwrap_err().to_string()
    };
    let mut newer = GOLDEN.to_vec();
    newer[15] = b'2';
    assert!(said(&newer, &GOLDEN_KEY).ends_with("is a segment of version 2: this program reads version 1"));
    assert!(said(b"forebay.re", &GOLDEN_KEY).contains("is no segment of records"));
    assert!(said(GOLDEN, &Key::of([8; 32])).contains("was written with another key"));
    let said = read(&folder.path().join("none"), &GOLDEN_KEY, "m").next().unwrap().unwrap_err();
    assert!(said.to_string().starts_with("records: can't read") && !said.is_unfinished(), "{said}");
}

#[test]
fn a_write_that_fails_ends_the_segment_so_that_no_nonce_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let frame = || Frame::of(1, &inputs("1", &request("m", &b"a"[..])));
    // A file that may only be read fails each write, as a full disk does.
    let begun = |name: &str, records| {
        let path = folder.path().join(name);
        fs::write(&path, "as far as it went").unwrap();
        let header = Header::new(1, [1; 32], "m");
        (path.clone(), Begun::unwritable(path, &GOLDEN_KEY, &header, records).unwrap())
    };
    // The segment is taken by value, and not given back.
    let (path, some) = begun("some", 1);
    assert!(some.append(frame()).is_err() && path.exists());
    let (path, none) = begun("none", 0);
    assert!(none.append(frame()).is_err() && !path.exists(), "one without a record is dropped");
}

#[test]
fn a_record_never_takes_more_than_it_counts_as() {
    proptest!(|(
        names in prop::collection::vec("[a-zé]{0,40}", 0..5),
        shape in prop::collection::vec(any::<i64>(), 0..9),
        bytes in 0_usize..2000,
        version in "[0-9]{1,19}",
    )| {
        let input = |name: &String| InferInputTensor {
            name: name.clone(),
            datatype: "FP32".into(),
            shape: shape.clone(),
            ..InferInputTensor::default()
        };
        let asked = ModelInferRequest {
            model_name: "m".repeat(255),
            inputs: names.iter().map(input).collect(),
            raw_input_contents: names.iter().map(|_| vec![1; bytes].into()).collect(),
            ..ModelInferRequest::default()
        };
        let frame = Frame::of(u64::MAX, &inputs(&version, &asked));
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
        recorder.offer("1", &request("m", &b"a"[..]));
    }
    assert!(recorder.queue.reserve(2000));
}

#[test]
fn what_reads_a_segment_says_what_is_wrong_with_its_error() {
    let torn = SegmentError::Torn { record: None };
    assert_eq!(torn.to_string(), "ends within its header: its writing was cut off, or goes on");
}
