//! The thread that writes records: what waits in the queue enters, segments leave, one open of each model. Each two seconds, also while
//! no request comes, it looks after the folder and the key.
//!
//! A segment is finished when it is an eighth of what all may take (64 MiB at most), or of the time that they are kept for; so what is
//! dropped, always a whole segment, is about that much. When something can't be written the record is dropped and counted, and the
//! thread rests, longer each time, before it tries a new segment; requests are answered all along. Nothing is synced: what a crash of
//! the machine costs is records.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use metrics::{Gauge, gauge};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::oneshot;

use super::folder::{Folder, SEGMENTS, Trouble};
use super::queue::Queue;
use super::segment::{Begun, END_BYTES, Frame, Header};
use super::{Key, Recording};
use crate::observe::logs::Seldom;
use crate::settings::{RecordConfig, SettingsError};
use crate::time::backoff::{Backoff, backoff};
use crate::time::clock::now_ms;
use crate::trust::Watched;

/// How often the folder and the key are looked after.
const LOOK: Duration = Duration::from_secs(2);
/// The shortest and the longest rest after a write that failed.
const RESTS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A segment is so large and so old, as a part of all, when it is finished.
const PARTS: u64 = 8;
const LARGEST_SEGMENT: u64 = 64 << 20;
const KEY_FLAG: &str = "--record-key-file";

/// For the thread.
pub(super) enum Message {
    /// A record, and what it counts as in the queue.
    Record { recording: Arc<Recording>, frame: Frame, bytes: usize },
    /// There is none after this.
    End,
}

/// What the thread has.
pub(super) struct Writer {
    folder: Folder,
    key: Key,
    key_path: PathBuf,
    key_file: Watched,
    chance: SystemRandom,
    queue: Arc<Queue>,
    /// By model.
    open: HashMap<String, Begun>,
    most: u64,
    most_of_segment: u64,
    oldest_segment_ms: u64,
    /// Bytes in the folder, as it was seen last, and written since.
    kept: u64,
    trouble: Option<Doing>,
    rest: Option<Rest>,
    said: Seldom,
    bytes: Gauge,
    failing: Gauge,
}

/// What there is trouble with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Looking,
    Writing,
}

/// After a write that failed.
struct Rest {
    until: Instant,
    pauses: Backoff,
}

impl Writer {
    /// Starts the thread: what it is sent, and who is told that it ended.
    ///
    /// # Errors
    /// When the key can't be used, or the folder not be written.
    pub(super) fn start(
        config: &RecordConfig,
        queue: Arc<Queue>,
    ) -> Result<(Sender<Message>, oneshot::Receiver<()>), SettingsError> {
        let wrong = |reason: String| SettingsError::Wrong { flag: "--record-dir", reason };
        let key_file = Watched::new([&config.key_file]);
        let key = Key::read(KEY_FLAG, &config.key_file)?;
        let folder = Folder::open(SEGMENTS, &config.folder, config.bytes, config.age)
            .map_err(|trouble| wrong(trouble.to_string()))?;
        let age_ms = u64::try_from(config.age.as_millis()).unwrap_or(u64::MAX);
        let writer = Self {
            folder,
            key,
            key_path: config.key_file.clone(),
            key_file,
            chance: SystemRandom::new(),
            queue,
            open: HashMap::new(),
            most: config.bytes,
            most_of_segment: (config.bytes / PARTS).min(LARGEST_SEGMENT),
            oldest_segment_ms: age_ms / PARTS,
            kept: 0,
            trouble: None,
            rest: None,
            said: Seldom::new(),
            bytes: gauge!("forebay_record_bytes"),
            failing: gauge!("forebay_record_failing"),
        };
        let (to_writer, messages) = mpsc::channel();
        let (tell, ended) = oneshot::channel();
        let run = move || {
            writer.run(&messages);
            // Nobody may wait for it.
            let _ = tell.send(());
        };
        let thread = thread::Builder::new().name("record".into()).spawn(run);
        thread.map_err(|error| wrong(format!("no thread can be started to write to it: {error}")))?;
        Ok((to_writer, ended))
    }

    fn run(mut self, messages: &Receiver<Message>) {
        self.failing.set(0);
        let mut next_look = Instant::now();
        loop {
            if Instant::now() >= next_look {
                self.look();
                next_look = Instant::now() + LOOK;
            }
            match messages.recv_timeout(next_look.saturating_duration_since(Instant::now())) {
                Ok(Message::Record { recording, frame, bytes }) => {
                    self.record(&recording, frame);
                    self.queue.release(bytes);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.finish(|_| true);
        self.bytes.set(self.kept as f64);
    }

    /// Drops what is too old or too much, finishes segments that are old enough, follows the key.
    fn look(&mut self) {
        if self.key_file.look() {
            match Key::read(KEY_FLAG, &self.key_path) {
                Ok(key) if key != self.key => {
                    self.finish(|_| true);
                    self.key = key;
                    tracing::info!(
                        "the key of records is another: what is recorded from now on is under that one"
                    );
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(
                        "the file of the records' key changed, the former key is used on: {error}"
                    );
                }
            }
        }
        let (now, oldest) = (now_ms(), self.oldest_segment_ms);
        self.finish(|begun| begun.began_ms.saturating_add(oldest) <= now);
        match self.folder.make_room(now, self.ends()) {
            Ok(kept) => {
                self.kept = kept;
                self.works(Doing::Looking);
            }
            Err(trouble) => self.fails(Doing::Looking, &trouble),
        }
        self.bytes.set(self.kept as f64);
    }

    /// What finishing all open segments takes.
    fn ends(&self) -> u64 {
        self.open.len() as u64 * END_BYTES
    }

    /// Finishes open segments.
    fn finish(&mut self, which: impl Fn(&Begun) -> bool) {
        for (_, begun) in self.open.extract_if(|_, begun| which(begun)) {
            self.kept += END_BYTES;
            // It is read without its end as well.
            let _ = begun.finish();
        }
    }

    fn record(&mut self, recording: &Recording, frame: Frame) {
        let alone = Header::length(&recording.model) + frame.length() + END_BYTES;
        if alone > self.most {
            return recording.dropped_size.increment(1);
        }
        if self.rest.as_ref().is_some_and(|rest| Instant::now() < rest.until) {
            return recording.dropped_disk.increment(1);
        }
        match self.write(&recording.model, frame, alone) {
            Ok(()) => {
                recording.written.increment(1);
                self.rest = None;
                self.works(Doing::Writing);
            }
            Err(trouble) => {
                recording.dropped_disk.increment(1);
                let pauses = self.rest.take().map_or_else(|| backoff(RESTS), |rest| rest.pauses);
                let mut rest = Rest { until: Instant::now(), pauses };
                rest.until += rest.pauses.next();
                self.rest = Some(rest);
                self.fails(Doing::Writing, &trouble);
            }
        }
    }

    /// Writes a record to its model's segment, which takes so many bytes if it is alone in it.
    fn write(&mut self, model: &str, frame: Frame, alone: u64) -> Result<(), Trouble> {
        let length = frame.length();
        let most = self.most_of_segment;
        self.open.retain(|other, begun| other != model || !begun.is_gone());
        if self.open.get(model).is_some_and(|begun| begun.bytes + length + END_BYTES > most) {
            let (_, full) = self.open.extract_if(|other, _| other == model).next().unzip();
            self.kept += END_BYTES;
            let _ = full.map(Begun::finish);
        }
        let is_new = !self.open.contains_key(model);
        if is_new || self.kept + length + self.ends() > self.most {
            self.kept = self.folder.make_room(now_ms(), alone + self.ends())?;
        }
        // Room may have been made by dropping the very one.
        let begun = match self.open.remove(model).filter(|begun| !begun.is_gone()) {
            Some(begun) => begun,
            None => self.begin(model)?,
        };
        let path = begun.path.clone();
        let begun = begun.append(frame).map_err(Trouble::with("write", &path))?;
        self.kept += length;
        self.open.insert(model.to_owned(), begun);
        Ok(())
    }

    fn begin(&mut self, model: &str) -> Result<Begun, Trouble> {
        let mut salt = [0; 32];
        let chance = self.chance.fill(&mut salt);
        chance.map_err(|_| {
            let error = std::io::Error::other("the system gives no random numbers");
            Trouble::with("begin a segment in", &self.folder.path)(error)
        })?;
        let header = Header::new(now_ms(), salt, model);
        let path = self.folder.path.join(SEGMENTS.salted(header.began_ms, &salt).to_string());
        let begun = Begun::begin(path.clone(), &self.key, &header).map_err(Trouble::with("begin", &path))?;
        self.kept += begun.bytes;
        Ok(begun)
    }

    /// What went well ends the trouble with it. That the folder can be read doesn't say that it can be written.
    fn works(&mut self, doing: Doing) {
        if self.trouble.is_some_and(|trouble| doing == Doing::Writing || trouble == doing) {
            self.trouble = None;
            self.failing.set(0);
            self.said.forget();
            tracing::info!("what failed with records works again");
        }
    }

    fn fails(&mut self, doing: Doing, trouble: &Trouble) {
        if self.trouble != Some(Doing::Writing) {
            self.trouble = Some(doing);
        }
        self.failing.set(1);
        if let Some(left_out) = self.said.due(&trouble.to_string()) {
            tracing::error!(left_out, "requests are answered, and not recorded: {trouble}");
        }
    }
}
