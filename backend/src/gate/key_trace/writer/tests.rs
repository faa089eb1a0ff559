use std::path::Path;

use forebay_protocol::poll::{Tier, Trace as Told};
use forebay_simulate::trace::{ALL, Trace, What};

use super::*;
use crate::cache::live::LiveTable;
use crate::gate::key_trace::rollouts::Rollouts;

const LENGTH: Duration = Duration::from_mins(1);

/// A writer to that folder, without its thread.
fn writer(folder: &Path, bytes: u64) -> Writer {
    let config = KeyTraceConfig { folder: folder.to_owned(), bytes, length: LENGTH };
    let rollouts = Rollouts::new(Arc::new(LiveTable::own()));
    Writer::new(&config, Arc::new(Mutex::new(Held::new(&config, rollouts, 0))))
}

impl Writer {
    /// Writes what was asked in a minute: a request a millisecond, of as many keys.
    fn minute(&mut self, minute: u64, requests: u64) {
        let begin_ms = minute * 60_000;
        let told = |number: u64| Told {
            at_ms: begin_ms + number,
            service: "s".into(),
            model: "m".into(),
            tenant: 0,
            key: number,
            bytes: 10,
            cost_us: 7,
            tier: Tier::Upstream,
        };
        self.held.lock().unwrap().take((0..requests).map(told).collect(), ALL, begin_ms + requests);
        self.write_all(|held| held.over(begin_ms + 120_000));
    }
}

fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    files.sort_unstable();
    files
}

#[test]
fn a_time_that_is_over_is_a_file_that_is_read_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("traces");
    let mut writer = writer(&folder, 1 << 20);
    writer.minute(7, 3);
    writer.write_all(|held| held.over(u64::MAX));
    let files = files(&folder);
    assert!(files.len() == 1 && files[0].0.starts_with("0000000420000-"), "{files:?}");
    let bytes = fs::read(folder.join(&files[0].0)).unwrap();
    let trace = Trace::read(&bytes).unwrap();
    let recorded = trace.recorded.unwrap();
    assert_eq!((recorded.begin_ms, recorded.end_ms(), recorded.rate), (420_000, 480_000, ALL));
    let records: Vec<_> = trace.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 3);
    assert_eq!((records[2].at_us, records[2].what), (2000, What::Asked { key: 2, cost_us: 7, bytes: 10 }));
    assert_eq!((trace.models[0].name.as_str(), trace.models[0].max_age_s), ("s/m", None));
}

#[test]
fn the_oldest_go_when_the_folder_is_full() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = writer(root.path(), 5000);
    fs::write(root.path().join("notes"), "not ours").unwrap();
    let mut last = String::new();
    for minute in 1..30 {
        writer.minute(minute, 60);
        let files = files(root.path());
        let traces = || files.iter().filter(|(name, _)| name != "notes");
        assert!(traces().map(|(_, bytes)| bytes).sum::<u64>() <= 5000, "{files:?}");
        let newest = traces().next_back().unwrap().0.clone();
        assert!(newest > last, "{newest} is there");
        last = newest;
    }
    assert!(files(root.path()).iter().any(|(name, _)| name == "notes"));
    assert!(files(root.path()).len() > 3);
}

#[test]
fn a_folder_that_is_gone_costs_its_trace_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("traces");
    let mut writer = writer(&folder, 1 << 20);
    writer.minute(1, 3);
    fs::remove_dir_all(&folder).unwrap();
    writer.minute(2, 3);
    assert!(!folder.exists(), "who took it away may bring another");
    fs::create_dir(&folder).unwrap();
    writer.minute(3, 3);
    assert_eq!(files(&folder).len(), 1);
}

#[test]
fn a_folder_that_was_not_to_be_had_at_the_start_is_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let parent = root.path().join("parent");
    fs::write(&parent, "in the way").unwrap();
    let mut writer = writer(&parent.join("traces"), 1 << 20);
    assert!(writer.open().is_err());
    writer.minute(1, 3);
    fs::remove_file(&parent).unwrap();
    fs::create_dir(&parent).unwrap();
    writer.minute(2, 3);
    assert_eq!(files(&parent.join("traces")).len(), 1);
}

#[test]
fn what_a_process_left_that_ended_while_it_wrote_goes() {
    let root = tempfile::tempdir().unwrap();
    let part = |name: &str| root.path().join(format!(".{name}.trace-part"));
    for name in ["old", "new"] {
        fs::write(part(name), "some").unwrap();
    }
    let old = fs::File::open(part("old")).unwrap();
    old.set_modified(std::time::SystemTime::now() - 2 * OLDEST_PART).unwrap();
    assert!(writer(root.path(), 1 << 20).open().is_ok());
    assert!(!part("old").exists() && part("new").exists());
}
