//! A folder of records, the key and a model -> what was recorded of it, segment by segment from the oldest on. Segments of several
//! replicas overlap in time.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use std::vec;

use super::folder::{SEGMENTS, Trouble, files};
use super::segment::{self, Segment, SegmentError};
use super::{Key, Recorded};

/// What of a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("records: {0}")]
    Folder(#[source] Trouble),
    /// What the segment has before that was read.
    #[error("{} {what}", path.display())]
    Segment { path: PathBuf, what: SegmentError },
}

impl RecordError {
    /// Whether nothing is wrong, but a segment was left unfinished by a crash, or is being written: to be told, and gone on from.
    pub(crate) fn is_unfinished(&self) -> bool {
        matches!(self, Self::Segment { what: SegmentError::Torn { .. }, .. })
    }
}

/// What was recorded of a model. An error ends its segment, and the next one follows.
pub(crate) fn read(folder: &Path, key: &Key, model: &str) -> Records {
    let (paths, wrong): (Vec<_>, _) = match files(SEGMENTS, folder) {
        Ok(found) => (found.into_keys().map(|name| folder.join(name.to_string())).collect(), None),
        Err(trouble) => (Vec::new(), Some(RecordError::Folder(trouble))),
    };
    Records { wrong, paths: paths.into_iter(), open: None, key: key.clone(), model: model.to_owned() }
}

impl Records {
    /// The same from the newest segment on, without those that nothing was written to since that time, in milliseconds since 1970.
    pub(crate) fn newest(self, since_ms: u64) -> Self {
        let since = UNIX_EPOCH + Duration::from_millis(since_ms);
        let is_older =
            |path: &PathBuf| path.metadata().and_then(|file| file.modified()).is_ok_and(|at| at < since);
        let mut paths: Vec<_> = self.paths.rev().collect();
        paths.retain(|path| !is_older(path));
        Self { paths: paths.into_iter(), ..self }
    }
}

/// See [`read`].
pub(crate) struct Records {
    wrong: Option<RecordError>,
    paths: vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, Segment<BufReader<File>>)>,
    key: Key,
    model: String,
}

impl Records {
    /// The segment in that file; `None` for one of another model, or one that was dropped meanwhile.
    fn open(&self, path: &Path) -> Result<Option<Segment<BufReader<File>>>, SegmentError> {
        let (file, bytes, header) = match segment::open(path) {
            Err(SegmentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if header.model != self.model {
            // It may be ours, under a changed name.
            return match header.prove(&self.key) {
                Err(SegmentError::Header) => Err(SegmentError::Header),
                Ok(()) | Err(_) => Ok(None),
            };
        }
        Segment::opened(file, bytes, &header, &self.key).map(Some)
    }
}

impl Iterator for Records {
    type Item = Result<Recorded, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(wrong) = self.wrong.take() {
            return Some(Err(wrong));
        }
        loop {
            if let Some((path, open)) = &mut self.open {
                match open.next() {
                    Some(Ok(recorded)) => return Some(Ok(recorded)),
                    Some(Err(what)) => return Some(Err(RecordError::Segment { path: path.clone(), what })),
                    None => self.open = None,
                }
            }
            let path = self.paths.next()?;
            match self.open(&path) {
                Ok(opened) => self.open = opened.map(|segment| (path, segment)),
                Err(what) => return Some(Err(RecordError::Segment { path, what })),
            }
        }
    }
}
