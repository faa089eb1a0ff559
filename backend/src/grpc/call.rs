//! `ModelInfer` and `ModelStreamInfer`. A message with raw or typed contents -> canonical form -> `infer` -> the answer with
//! raw contents, as Triton sends it; on a stream with the word that it is a request's last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_protocol::messages::{ModelInferRequest, ModelInferResponse};
use forebay_protocol::{call, contents, request, response};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::last;
use super::{Answered, GrpcInferenceService, GrpcService, status};
use crate::body::budget::Charge;
use crate::infer::{Caller, headers};
use crate::observe::trace::{Laps, Stage};
use crate::proto::ModelStreamInferResponse;

/// Says how the client's messages are compressed.
pub(super) const GRPC_ENCODING: &str = "grpc-encoding";
/// Requests of one stream that are answered at a time.
const STREAM_REQUESTS: usize = 16;

/// What a call's metadata says.
struct Call {
    /// The client compresses, so it wants to be answered so: compressing costs more than most answers do.
    compresses: bool,
    caller: Caller,
    /// What came and is no message yet.
    charge: Arc<Charge>,
}

impl GrpcService {
    pub(super) async fn infer(&self, request: Request<ModelInferRequest>) -> Answered<ModelInferResponse> {
        let call = self.call(&request)?;
        let Call { caller, charge, compresses } = call;
        let (headers, response) =
            self.shared.answer(request.into_inner(), Came::as_message(charge.split()), &caller).await?;
        let mut answered = Response::new(response);
        *answered.metadata_mut() = MetadataMap::from_headers(headers);
        if !compresses {
            answered.disable_compression();
        }
        Ok(answered)
    }

    /// Answers in the order of the requests. An error is an answer too; the stream goes on.
    pub(super) fn stream(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answered<<Self as GrpcInferenceService>::ModelStreamInferStream> {
        let call = Arc::new(self.call(&request)?);
        let (shared, compresses) = (self.shared.clone(), call.compresses);
        let answers = request.into_inner().map(move |request| {
            let (shared, call) = (shared.clone(), call.clone());
            async move {
                let request = request?;
                let (id, model_name, model_version) =
                    (request.id.clone(), request.model_name.clone(), request.model_version.clone());
                let came = Came::as_message(call.charge.split());
                Ok(match shared.answer(request, came, &call.caller).await {
                    Ok((_, mut response)) => {
                        last::tell(&mut response);
                        ModelStreamInferResponse {
                            error_message: String::new(),
                            infer_response: Some(response),
                        }
                    }
                    Err(error) => {
                        let mut response = ModelInferResponse { id, ..ModelInferResponse::default() };
                        if last::is_of_a_run(&error) {
                            (response.model_name, response.model_version) = (model_name, model_version);
                            last::tell(&mut response);
                        }
                        ModelStreamInferResponse {
                            error_message: error.message().to_owned(),
                            infer_response: Some(response),
                        }
                    }
                })
            }
        });
        let mut answered: Response<<Self as GrpcInferenceService>::ModelStreamInferStream> =
            Response::new(Box::pin(answers.buffered(STREAM_REQUESTS)));
        if !compresses {
            answered.disable_compression();
        }
        Ok(answered)
    }

    fn call<T>(&self, request: &Request<T>) -> Result<Call, Status> {
        let (metadata, extensions) = (request.metadata().as_ref(), request.extensions());
        let deadline = deadline(metadata)?;
        Ok(Call {
            compresses: metadata.contains_key(GRPC_ENCODING),
            caller: self.shared.inference.caller(metadata, extensions, deadline),
            charge: self.charge(request),
        })
    }
}

/// How a request came.
pub(super) struct Came<'a> {
    /// What its tensors may lie in.
    pub(super) message: &'a [u8],
    /// What it costs in bytes.
    pub(super) charge: Charge,
    /// What it passed before.
    pub(super) laps: Laps,
}

impl Came<'_> {
    /// As a message that tonic read.
    fn as_message(charge: Charge) -> Self {
        Self { message: &[], charge, laps: Laps::begin() }
    }
}

impl super::Shared {
    /// The answer's headers, and its response with the request's id and the outputs in the order asked. Tensors that don't lie in
    /// its message are charged.
    pub(super) async fn answer(
        &self,
        mut request: ModelInferRequest,
        came: Came<'_>,
        caller: &Caller,
    ) -> Result<(HeaderMap, ModelInferResponse), Status> {
        call::take_wish(&mut request).map_err(Status::invalid_argument)?;
        contents::canonicalize(&mut request, &self.limits).map_err(|error| status::of_request(&error))?;
        request::validate(&request, &self.limits).map_err(|error| status::of_request(&error))?;
        let Came { message, charge, mut laps } = came;
        charge.tensors(&mut request, message).map_err(status::of_spent)?;
        laps.end(Stage::Decode);
        let id = request.id.clone();
        let wanted: Vec<String> = request.outputs.iter().map(|output| output.name.clone()).collect();
        let answered = self.inference.answer(request, caller, &laps).await;
        let answer = answered.map_err(|error| status::of(&error))?;
        let (since, trace) = (Instant::now(), answer.trace.clone());
        let headers = headers::of(&answer);
        let mut response = answer.response.into_own();
        response::arrange(&mut response, wanted.iter().map(String::as_str))
            .map_err(|error| status::bad(&error))?;
        response.id = id;
        trace.goes_out(since);
        Ok((headers, response))
    }
}

/// Until when a call wants its answer.
pub(super) fn deadline(metadata: &HeaderMap) -> Result<Option<Instant>, Status> {
    Ok(timeout(metadata)?.and_then(|timeout| Instant::now().checked_add(timeout)))
}

/// How long a call wants to wait for its answer.
pub(crate) fn timeout(metadata: &HeaderMap) -> Result<Option<Duration>, Status> {
    let read = |value: &HeaderValue| {
        call::timeout(value.as_bytes()).ok_or_else(|| {
            Status::invalid_argument(format!(
                "{} must be at most 8 digits and one of H, M, S, m, u, n",
                call::TIMEOUT
            ))
        })
    };
    metadata.get(call::TIMEOUT).map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Result<Option<Duration>, Status> {
        let mut metadata = HeaderMap::new();
        metadata.insert("grpc-timeout", HeaderValue::from_static(value));
        timeout(&metadata)
    }

    #[test]
    fn deadlines_are_read_in_every_unit_and_nonsense_is_refused() {
        assert_eq!(timeout(&HeaderMap::new()).unwrap(), None);
        assert_eq!(of("20m").unwrap(), Some(Duration::from_millis(20)));
        assert_eq!(of("99999999H").unwrap(), Some(Duration::from_hours(99_999_999)));
        assert_eq!(of("0n").unwrap(), Some(Duration::ZERO));
        for wrong in ["", "m", "1", "1x", "123456789m", "-1m", "1 m"] {
            assert_eq!(of(wrong).unwrap_err().code(), tonic::Code::InvalidArgument, "{wrong:?}");
        }
    }
}
