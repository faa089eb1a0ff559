//! A segment: some records of one model, one after another, in one file. [`Begun`] is one that is written, [`Segment`] one that is
//! read.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | `forebay.record.2`; the last is the version |
//! | 8 | the key's id |
//! | 32 | salt, by chance |
//! | 8 | when it was begun, milliseconds since 1970 |
//! | 2, n | the model's name after its length |
//! | 16 | tag of nothing, sealed under the number 2^64 - 1: proves all before it, from which the segment's key is derived |
//! | 4, n | a record after its length, sealed under its number (0, 1, ...), with the length beside it: so often |
//!
//! Numbers are little endian; the nonce is four zeros and the number. A record begins with its kind. 1: the time, 8 bytes, and the
//! `ModelInferRequest` in protobuf, with the version that answers it and no outputs. 3: the same of a request as it was asked. 2, the last
//! one of a segment that was finished: how many came before it, 8 bytes. In segments of version 1 there is no 3.
//!
//! So a record that was changed, left out, put in another place or in another segment isn't opened. A segment that was not finished,
//! since it is being written or its process crashed, may lack its last records, or end within one ([`SegmentError::Torn`]).

mod frame;
mod header;
mod reader;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

pub(super) use frame::{END_BYTES, Frame};
pub(super) use header::Header;
pub(super) use reader::Segment;
pub(crate) use reader::SegmentError;

use super::key::{Key, SegmentKey};

/// A segment that is being written, by this process alone.
pub(super) struct Begun {
    file: File,
    pub(super) path: PathBuf,
    pub(super) began_ms: u64,
    key: SegmentKey,
    /// Bytes of the file.
    pub(super) bytes: u64,
    records: u64,
}

impl Begun {
    /// A new file, which others can't read.
    ///
    /// # Errors
    /// When it can't be made or written.
    pub(super) fn begin(path: PathBuf, key: &Key, header: &Header) -> io::Result<Self> {
        let (bytes, key) = header.sealed(key);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all(&bytes) {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { file, path, began_ms: header.began_ms, key, bytes: bytes.len() as u64, records: 0 })
    }

    /// Of a file that is there and takes nothing.
    #[cfg(test)]
    pub(super) fn unwritable(path: PathBuf, key: &Key, header: &Header, records: u64) -> io::Result<Self> {
        let (_, key) = header.sealed(key);
        Ok(Self { file: File::open(&path)?, path, began_ms: header.began_ms, key, bytes: 0, records })
    }

    /// Whether somebody dropped its file.
    pub(super) fn is_gone(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When it wasn't written: the segment ends before it then, and takes no other, which would be sealed with the same nonce.
    pub(super) fn append(mut self, frame: Frame) -> io::Result<Self> {
        let sealed = frame.sealed(&self.key, self.records);
        if let Err(error) = self.file.write_all(&sealed) {
            // One without a record is of no use, and each attempt on a full disk would leave one.
            let _ = match self.records {
                0 => std::fs::remove_file(&self.path),
                _ => self.file.set_len(self.bytes),
            };
            return Err(error);
        }
        self.bytes += sealed.len() as u64;
        self.records += 1;
        Ok(self)
    }

    /// Says that this is all of it.
    ///
    /// # Errors
    /// When that couldn't be written. Nothing is lost: the segment is one that was not finished.
    pub(super) fn finish(self) -> io::Result<()> {
        let end = Frame::end(self.records);
        self.append(end).map(|_| ())
    }
}

/// Any bytes as a segment: reads as far as it is one. For the fuzz target.
pub(crate) fn fuzz(bytes: &[u8]) {
    let (mut from, length) = (bytes, bytes.len() as u64);
    let Ok(header) = Header::read(&mut from, length) else { return };
    if let Ok(segment) = Segment::opened(from, length, &header, &Key::of([7; 32])) {
        segment.for_each(drop);
    }
}

/// A segment's file, as far as it is readable without a key.
pub(super) fn open(path: &Path) -> Result<(BufReader<File>, u64, Header), SegmentError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let header = Header::read(&mut file, bytes)?;
    Ok((file, bytes, header))
}
