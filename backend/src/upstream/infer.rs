//! One inference: a canonical request -> a message of gRPC to the server -> its answer in canonical form, or its error with the class
//! that it has there and in its own words.

use std::error::Error as _;
use std::time::{Duration, Instant};

use forebay_protocol::contents;
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::{ModelInferRequest, ModelInferResponse, Parameters};
use http::HeaderMap;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::{Upstream, UpstreamError, late, unreachable};
use crate::class::Class;
use crate::proto::{ServerReadyRequest, ServerReadyResponse};

const INFER: PathAndQuery = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelInfer");
const READY: PathAndQuery = PathAndQuery::from_static("/inference.GRPCInferenceService/ServerReady");
/// How our own decoder says that a message is too large.
const TOO_LARGE: &str = "Error, decoded message length too large";
/// Parameters of an output that say how a body carries it: KServe says the second over gRPC, too.
const OF_THE_BODY: [&str; 2] = ["binary_data", "binary_data_size"];

impl Upstream {
    /// Asks it for one inference. `passed` goes along as metadata.
    ///
    /// # Errors
    /// Any of [`UpstreamError`].
    pub(crate) async fn infer(
        &self,
        mut request: ModelInferRequest,
        passed: HeaderMap,
        deadline: Option<Instant>,
    ) -> Result<ModelInferResponse, UpstreamError> {
        request.parameters.remove("binary_data_output");
        request.outputs.iter_mut().for_each(|output| forget_the_body(&mut output.parameters));
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let within = left.map_or(self.reach.within, |left| left.min(self.reach.within));
        let asked = async {
            // It is never closed.
            let _slot = self.slots.acquire().await;
            let mut call = Request::new(request);
            *call.metadata_mut() = MetadataMap::from_headers(passed);
            call.set_timeout(within);
            self.call::<_, ModelInferResponse>(INFER, call).await
        };
        let mut response = self.timed(within, asked).await?;
        // It is the client's, whoever that is.
        response.id.clear();
        response.outputs.iter_mut().for_each(|output| forget_the_body(&mut output.parameters));
        let unusable = |error: &dyn std::fmt::Display| UpstreamError::Unusable { reason: error.to_string() };
        contents::canonicalize_answer(&mut response, &Limits::of_body(self.reach.most_answer_bytes))
            .map_err(|error| unusable(&error))?;
        Ok(response)
    }

    /// Whether it says over gRPC that it is ready.
    ///
    /// # Errors
    /// `Unreachable`, `Late`, and what it says instead.
    pub(super) async fn is_ready_over_grpc(&self, within: Duration) -> Result<bool, UpstreamError> {
        let asked = self.call::<_, ServerReadyResponse>(READY, Request::new(ServerReadyRequest {}));
        Ok(self.timed(within, asked).await?.ready)
    }

    async fn timed<T>(
        &self,
        within: Duration,
        asked: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let late = |_| late(&self.place_of_grpc, within);
        tokio::time::timeout(within, asked).await.map_err(late)?
    }

    async fn call<Asked, Answer>(
        &self,
        path: PathAndQuery,
        call: Request<Asked>,
    ) -> Result<Answer, UpstreamError>
    where
        Asked: prost::Message + Send + Sync + 'static,
        Answer: prost::Message + Default + Send + Sync + 'static,
    {
        let most = self.reach.most_answer_bytes;
        let origin = self.place_of_grpc.uri(PathAndQuery::from_static("/"));
        let mut client = Grpc::with_origin(self.grpc.clone(), origin)
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX);
        client.ready().await.map_err(|error| unreachable(&self.place_of_grpc, &error))?;
        let answered = client.unary(call, path, ProstCodec::<Asked, Answer>::default()).await;
        answered.map(tonic::Response::into_inner).map_err(|status| self.refused(&status))
    }

    /// What has a cause didn't come from the server, but from the way there.
    fn refused(&self, status: &Status) -> UpstreamError {
        match status.source() {
            Some(cause) => unreachable(&self.place_of_grpc, cause),
            None if status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE) => {
                UpstreamError::TooLarge { most: self.reach.most_answer_bytes }
            }
            None => UpstreamError::Said { class: class(status.code()), message: status.message().to_owned() },
        }
    }
}

/// Takes out what is said of a body that is another one here.
fn forget_the_body(parameters: &mut Parameters) {
    parameters.retain(|name, _| !OF_THE_BODY.contains(&&**name));
}

/// The class of errors that has that code here, or one that is nearest.
fn class(code: Code) -> Class {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition => Class::Wrong,
        Code::OutOfRange => Class::TooLarge,
        Code::Unauthenticated => Class::Unproven,
        Code::PermissionDenied => Class::Forbidden,
        Code::NotFound => Class::Unknown,
        Code::Unimplemented => Class::Unimplemented,
        Code::Aborted | Code::AlreadyExists => Class::Conflict,
        Code::Cancelled => Class::Left,
        Code::DeadlineExceeded => Class::Late,
        Code::Unavailable => Class::Rejected,
        Code::ResourceExhausted => Class::Full,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Class::Failed,
    }
}

#[cfg(test)]
mod tests {
    use forebay_protocol::messages::InferParameter;

    use super::*;

    #[test]
    fn what_an_output_says_of_its_body_is_forgotten_and_nothing_else_of_it() {
        let said = ["binary_data", "binary_data_size", "classification"];
        let mut parameters: Parameters =
            said.into_iter().map(|name| (name.to_owned(), InferParameter { choice: None })).collect();
        forget_the_body(&mut parameters);
        assert_eq!(parameters.keys().collect::<Vec<_>>(), ["classification"]);
    }
}
