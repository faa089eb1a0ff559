//! A segment's file and the key -> its records, one by one, each opened before anything of it is believed. No more is held than one
//! record, and no more is made room for than the file has.

use std::io::{self, Read};

use bytes::Bytes;
use forebay_protocol::messages::ModelInferRequest;
use prost::Message as _;

use super::frame::{END, HEAD_BYTES, INPUTS, LENGTH_BYTES, WHOLE};
use super::header::{Header, take};
use crate::record::Recorded;
use crate::record::key::{Key, SegmentKey, TAG_BYTES};

/// What is wrong with a segment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("is no segment of records: it must begin with forebay.record.2")]
    NoSegment,
    #[error("is a segment of version {0}: this program reads versions 1 and 2")]
    UnknownVersion(String),
    #[error("was written with another key: its id is {wrote}, that of the key given is {given}")]
    OtherKey { wrote: String, given: String },
    #[error("has a header that was changed or is damaged")]
    Header,
    /// What comes before it was read.
    #[error("ends within {}: its writing was cut off, or goes on", part(*.record))]
    Torn { record: Option<u64> },
    #[error("record {record} was changed or moved, or is damaged: nothing is read from there on")]
    Damaged { record: u64 },
    #[error("record {record} is not the protobuf expected: {source}")]
    Malformed { record: u64, source: prost::DecodeError },
    #[error("has bytes behind its end")]
    Behind,
}

fn part(record: Option<u64>) -> String {
    record.map_or("its header".to_owned(), |record| format!("record {record}"))
}

/// A segment that is read: an iterator over its records, whose first error is its last item.
pub(in crate::record) struct Segment<R> {
    from: R,
    left: u64,
    key: SegmentKey,
    record: u64,
    is_over: bool,
}

impl<R: Read> Segment<R> {
    /// What comes after that header, in a file of so many bytes.
    ///
    /// # Errors
    /// When it was written with another key, or the header was changed.
    pub(in crate::record) fn opened(
        from: R,
        bytes: u64,
        header: &Header,
        key: &Key,
    ) -> Result<Self, SegmentError> {
        let left = bytes.saturating_sub(Header::length(&header.model));
        Ok(Self { from, left, key: header.key(key)?, record: 0, is_over: false })
    }

    fn record(&mut self) -> Result<Option<Recorded>, SegmentError> {
        if self.left == 0 {
            return Ok(None);
        }
        let record = self.record;
        let torn = |error| match error {
            SegmentError::Torn { .. } => SegmentError::Torn { record: Some(record) },
            error => error,
        };
        let mut length = [0; LENGTH_BYTES];
        take(&mut self.from, &mut self.left, &mut length).map_err(torn)?;
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes < HEAD_BYTES + TAG_BYTES {
            return Err(self.no_length(bytes)?);
        }
        if bytes as u64 > self.left {
            return Err(SegmentError::Torn { record: Some(record) });
        }
        let mut sealed = vec![0; bytes];
        take(&mut self.from, &mut self.left, &mut sealed).map_err(torn)?;
        let damaged = SegmentError::Damaged { record };
        if self.key.open(record, &length, &mut sealed).is_err() {
            return Err(damaged);
        }
        let mut plain = Bytes::from(sealed);
        plain.truncate(bytes - TAG_BYTES);
        let head = plain.split_to(HEAD_BYTES);
        let number = head[1..].try_into().map_or(0, u64::from_le_bytes);
        match head[0] {
            kind @ (INPUTS | WHOLE) => {
                self.record += 1;
                let request = ModelInferRequest::decode(plain)
                    .map_err(|source| SegmentError::Malformed { record, source })?;
                Ok(Some(Recorded { time_ms: number, request, is_whole: kind == WHOLE }))
            }
            END if number == record && plain.is_empty() => match self.left {
                0 => Ok(None),
                _ => Err(SegmentError::Behind),
            },
            _ => Err(damaged),
        }
    }

    /// What a length is that none can be. Some file systems leave zeros where a write was cut off.
    fn no_length(&mut self, bytes: usize) -> Result<SegmentError, SegmentError> {
        let record = self.record;
        let mut chunk = [0; 4096];
        let mut is_zeros = bytes == 0;
        while is_zeros && self.left > 0 {
            let some = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len());
            take(&mut self.from, &mut self.left, &mut chunk[..some])?;
            is_zeros = chunk[..some].iter().all(|byte| *byte == 0);
        }
        Ok(if is_zeros {
            SegmentError::Torn { record: Some(record) }
        } else {
            SegmentError::Damaged { record }
        })
    }
}

impl<R: Read> Iterator for Segment<R> {
    type Item = Result<Recorded, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.record().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}
