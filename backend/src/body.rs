//! A request's body -> its bytes, within the limits, charged as they come (`budget`), at the least pace (`pace`). A body that came
//! as it is, in one piece, is not copied; an encoded one is inflated (`coding`). Next: the edges decode the bytes.

pub(crate) mod budget;
mod coding;
pub(crate) mod metered;
pub(crate) mod pace;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use crate::class::Class;
use budget::{Budget, Charge, Spent};
use coding::Coding;
use metered::{Metered, Unread};
use pace::{Least, Slow};

/// Room for so many pieces as large as the first is made when the second comes: those of 64 KiB over HTTP/2.
const PIECES: usize = 4;

/// How large and how slow a body may be, and what all may hold together.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    pub(crate) bytes: usize,
    pub(crate) least: Least,
    pub(crate) budget: Arc<Budget>,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is larger than the limit of {limit} bytes (--max-body-bytes)")]
    TooLarge { limit: usize },
    #[error("the body {0}")]
    Slow(Slow),
    #[error(transparent)]
    Spent(#[from] Spent),
    #[error("the body could not be read: {reason}")]
    Broken { reason: String },
    #[error(
        "content-encoding {encoding:?} is not supported; send gzip, deflate, zstd or the body as it is (identity)"
    )]
    Encoding { encoding: String },
    #[error("the body is not as it should be: {reason}")]
    Content { reason: String },
}

impl From<Unread> for BodyError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Slow(slow) => Self::Slow(slow),
            Unread::Spent(spent) => Self::Spent(spent),
            Unread::TooLarge { limit } => Self::TooLarge { limit },
            Unread::Broken(error) => Self::Broken { reason: error.to_string() },
        }
    }
}

impl BodyError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::TooLarge { .. } => Class::TooLarge,
            Self::Slow(_) => Class::Slow,
            Self::Spent(_) => Class::Full,
            Self::Encoding { .. } => Class::Coding,
            Self::Broken { .. } | Self::Content { .. } => Class::Wrong,
        }
    }
}

/// A body, and what it holds of the budget.
#[derive(Debug)]
pub(crate) struct Received {
    bytes: Bytes,
    charge: Charge,
}

impl Received {
    /// The bytes, which hold the charge as long as anything reads a part of them.
    pub(crate) fn held(self) -> Bytes {
        Arc::new(self.charge).on(self.bytes)
    }
}

impl Bodies {
    /// Reads the whole body.
    ///
    /// # Errors
    /// `Encoding`, `TooLarge` (at once where the length is announced), `Slow`, `Spent` and `Broken`.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Received, BodyError> {
        let coding = Coding::of(headers)?;
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.bytes as u64) {
            return Err(BodyError::TooLarge { limit: self.bytes });
        }
        let (body, charge) = (Metered::new(body, self.least), self.budget.charge());
        let bytes = match coding {
            None => plain(body, self.bytes, &charge).await?,
            Some(coding) => coding::inflate(coding, body, self.bytes, &charge).await?,
        };
        Ok(Received { bytes, charge })
    }

    /// Reads a request of management; an empty body is an empty one. What it holds of the budget is to be kept until it is
    /// answered.
    ///
    /// # Errors
    /// Those of [`Self::read`], and `Content` for what is not the JSON that is expected.
    pub(crate) async fn read_json<T: Default + DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<(T, Charge), BodyError> {
        let (head, body) = request.into_parts();
        let Received { bytes, charge } = self.read(&head.headers, body).await?;
        if bytes.is_empty() {
            return Ok((T::default(), charge));
        }
        // serde reads a struct from a list too.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(BodyError::Content { reason: "a JSON object is expected".to_owned() });
        }
        let read = serde_json::from_slice(&bytes);
        Ok((read.map_err(|error| BodyError::Content { reason: error.to_string() })?, charge))
    }
}

async fn plain(mut body: Metered, limit: usize, charge: &Charge) -> Result<Bytes, BodyError> {
    let mut pieces = Pieces::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if pieces.len() + data.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        charge.grow(data.len())?;
        pieces.push(data);
    }
    Ok(pieces.whole())
}

/// A body in the pieces in which it came; one that came alone is not copied.
#[derive(Default)]
pub(crate) struct Pieces {
    first: Bytes,
    all: BytesMut,
}

impl Pieces {
    /// Bytes that came.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// The next piece.
    pub(crate) fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            // More of the kind come, most often; what is announced takes nothing.
            self.all.reserve(first.len().saturating_mul(PIECES));
            self.all.extend_from_slice(&first);
        }
        self.all.extend_from_slice(&data);
    }

    /// So many of the first bytes, if they came.
    pub(crate) fn first_chunk<const N: usize>(&self) -> Option<&[u8; N]> {
        let came = if self.all.is_empty() { &self.first[..] } else { &self.all[..] };
        came.first_chunk()
    }

    /// All of it.
    pub(crate) fn whole(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
