//! A request's body -> its bytes, within the limits, charged as they come. A body that came as it is, in one piece, is not
//! copied; an encoded one is inflated (`coding`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::budget::{Budget, Charge};
use super::coding::{self, Coding};
use super::error::HttpError;
use super::metered::Metered;
use super::pace::Least;

/// How large and how slow a body may be, and what all may hold together.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    pub(crate) bytes: usize,
    pub(crate) least: Least,
    pub(crate) budget: Arc<Budget>,
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
    /// `Encoding`, `BodyTooLarge` (at once where the length is announced), `Slow`, `Spent` and `BodyBroken`.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Received, HttpError> {
        let coding = Coding::of(headers)?;
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.bytes as u64) {
            return Err(HttpError::BodyTooLarge { limit: self.bytes });
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
    /// Those of [`Self::read`], and `Body` for what is not the JSON that is expected.
    pub(crate) async fn read_json<T: Default + DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<(T, Charge), HttpError> {
        let (head, body) = request.into_parts();
        let Received { bytes, charge } = self.read(&head.headers, body).await?;
        if bytes.is_empty() {
            return Ok((T::default(), charge));
        }
        // serde reads a struct from a list too.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(HttpError::Body { reason: "a JSON object is expected".to_owned() });
        }
        let read = serde_json::from_slice(&bytes);
        Ok((read.map_err(|error| HttpError::Body { reason: error.to_string() })?, charge))
    }
}

async fn plain(mut body: Metered, limit: usize, charge: &Charge) -> Result<Bytes, HttpError> {
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(HttpError::BodyTooLarge { limit });
        }
        charge.grow(data.len())?;
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}
