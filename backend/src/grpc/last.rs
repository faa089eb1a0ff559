//! A request's last answer on a stream says so (Triton's `triton_final_response`), for clients that don't know how many a model gives.
//! Here a model gives one, so each is the last; whether empty last ones are wanted (`call::take_wish`) makes no difference then, as in
//! Triton, but is to be said as Triton reads it.

use forebay_protocol::messages::{Choice, InferParameter, ModelInferResponse};
use tonic::{Code, Status};

const FINAL: &str = "triton_final_response";

/// Says of an answer that it is its request's last.
pub(super) fn tell(response: &mut ModelInferResponse) {
    let parameter = InferParameter { choice: Some(Choice::Bool(true)) };
    response.parameters.insert(FINAL.to_owned(), parameter);
}

/// Whether an error came of computing: Triton says of those that they are the last, and not of requests that it didn't begin.
pub(super) fn is_of_a_run(error: &Status) -> bool {
    error.code() == Code::Internal
}
