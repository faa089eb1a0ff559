//! A canonical request -> the bytes that are sent, with the spots where requests differ. A spot is as wide as its widest value,
//! so a new request is written over the last one, in the buffer that is sent.

mod head;
mod json;
mod spots;

use std::sync::Arc;

use bytes::Bytes;
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::path::encoded;
use forebay_protocol::response::ResponseError;
use http::uri::InvalidUri;
use prost::Message;

pub(super) use spots::Spot;

use super::connection::Server;
use super::inputs::Asked;
use crate::settings::Encoding;
use head::{AGENT, head};
use spots::Differing;

/// The path of gRPC's calls.
const SERVICE: &str = "/inference.GRPCInferenceService";

/// A request that can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("as JSON: {0}; another --encoding can carry it")]
    Json(ResponseError),
    #[error("no path can name it: {0}")]
    Path(InvalidUri),
}

/// What every request of a run is made of.
#[derive(Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
    spots: Arc<[Spot]>,
    /// How many requests differ.
    variants: u64,
    /// Where the id is, if each request has its own.
    id: Option<Spot>,
    call: Option<Arc<http::Request<()>>>,
    /// A message that is the same each time.
    same: Option<Bytes>,
}

impl Request {
    /// An inference. With `is_varied`, [`Self::vary`] makes others of it; [`Self::name`] does where it has an id.
    ///
    /// # Errors
    /// [`RequestError`].
    pub(super) fn infer(
        server: &Server,
        encoding: Encoding,
        asked: &Asked,
        is_varied: bool,
    ) -> Result<Self, RequestError> {
        let differing = if is_varied { Differing::of(asked) } else { Differing::none(asked) };
        let variants = differing.variants(asked);
        let request = &asked.request;
        if encoding == Encoding::Grpc {
            let message = request.encode_to_vec();
            let spots = differing.at_the_end(asked, PREFIX + message.len(), field);
            let id = Spot::of_id(asked, PREFIX + before_id(request), false);
            return Ok(Self::call_of(server, "ModelInfer", &message)?.with(spots, variants, id));
        }
        let (json, mut spots, id) = json::write(asked, &differing, encoding).map_err(RequestError::Json)?;
        let mut body = json;
        let length = body.len();
        if encoding == Encoding::Binary {
            request.raw_input_contents.iter().for_each(|data| body.extend_from_slice(data));
            spots = differing.at_the_end(asked, body.len(), |_| 0);
        }
        let mut path = format!("/v2/models/{}", encoded(&request.model_name));
        if !request.model_version.is_empty() {
            path = format!("{path}/versions/{}", encoded(&request.model_version));
        }
        let length = (encoding == Encoding::Binary).then_some(length);
        let mut bytes = head(server, "POST", &format!("{path}/infer"), length, body.len());
        let mut id = Spot::of_id(asked, id, true);
        for spot in spots.iter_mut().chain(&mut id) {
            spot.offset += bytes.len();
        }
        bytes.extend_from_slice(&body);
        Ok(Self::http(bytes).with(spots, variants, id))
    }

    /// Asks for what a path of HTTP says.
    pub(super) fn get(server: &Server, path: &str) -> Self {
        Self::http(head(server, "GET", path, None, 0))
    }

    /// Sends JSON to a path of HTTP.
    pub(super) fn post(server: &Server, path: &str, json: &[u8]) -> Self {
        Self::http([&head(server, "POST", path, None, json.len()), json].concat())
    }

    /// A call of gRPC.
    ///
    /// # Errors
    /// [`RequestError::Path`].
    pub(super) fn call_of(server: &Server, method: &str, message: &[u8]) -> Result<Self, RequestError> {
        let scheme = if server.address.is_encrypted { "https" } else { "http" };
        let uri = format!("{scheme}://{}{}{SERVICE}/{method}", server.name(), server.address.prefix);
        let mut call = http::Request::new(());
        *call.method_mut() = http::Method::POST;
        *call.version_mut() = http::Version::HTTP_2;
        *call.uri_mut() = uri.parse().map_err(RequestError::Path)?;
        let fixed = [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", AGENT)];
        for (name, value) in fixed {
            call.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        for header in server.more_headers() {
            call.headers_mut().append(header.name.clone(), header.value.clone());
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        let bytes = [&[0][..], &length, message].concat();
        let same = Some(Bytes::copy_from_slice(&bytes));
        Ok(Self { bytes, spots: [].into(), variants: 1, id: None, call: Some(Arc::new(call)), same })
    }

    fn http(bytes: Vec<u8>) -> Self {
        Self { bytes, spots: [].into(), variants: 1, id: None, call: None, same: None }
    }

    fn with(self, spots: Vec<Spot>, variants: u64, id: Option<Spot>) -> Self {
        let same = self.same.filter(|_| spots.is_empty() && id.is_none());
        Self { spots: spots.into(), variants, id, same, ..self }
    }

    /// How many different requests there are; `u64::MAX` for more than can be counted.
    pub(super) fn variants(&self) -> u64 {
        self.variants
    }

    /// Bytes that are sent, of HTTP with the head.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes it request `number`.
    pub(super) fn vary(&mut self, mut number: u64) {
        for spot in self.spots.iter() {
            let count = spot.elements.count();
            spot.fill(number % count, &mut self.bytes);
            number /= count;
        }
    }

    /// Gives it an id by number, where it has one.
    pub(super) fn name(&mut self, number: u64) {
        if let Some(id) = &self.id {
            id.fill(number, &mut self.bytes);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The message with its prefix.
    pub(super) fn message(&self) -> Bytes {
        self.same.clone().unwrap_or_else(|| Bytes::copy_from_slice(&self.bytes))
    }

    /// What a call says beside its message.
    ///
    /// # Panics
    /// Of a request over HTTP.
    pub(super) fn call(&self) -> Arc<http::Request<()>> {
        self.call.clone().expect("requests and connections are made for the same server")
    }
}

/// Bytes of a message before its id: the fields that come first, and the id's own tag and length.
fn before_id(request: &ModelInferRequest) -> usize {
    let first = [&request.model_name, &request.model_version].into_iter().filter(|text| !text.is_empty());
    first.map(|text| field(text.len()) + text.len()).sum::<usize>() + field(request.id.len())
}

/// What stands before bytes in a message: a tag of one byte, and their length.
fn field(length: usize) -> usize {
    1 + prost::length_delimiter_len(length)
}

/// A message's flag and length.
const PREFIX: usize = 5;

#[cfg(test)]
mod tests;
