//! A client of any server that speaks V2: `forebay infer` asks once and shows the answer, `forebay bench` loads a model and tells
//! latency and throughput; and of a gate: `forebay cache`. Settings enter, text and files leave.
//!
//! ```text
//! address, tls   where a server is, and whom to believe
//! connection     one connection: a request's bytes -> the answer, over HTTP/1.1 or gRPC
//! model          metadata -> the model's inputs
//! inputs         inputs, or a file -> one request, and which values others may have
//! request        request -> bytes in an encoding, with the spots where requests differ
//! infer, bench   the commands
//! cache          what a gate is asked: purges, and what is kept
//! ```
//!
//! But for `cache` nothing here knows our own server: what is counted as a hit is what `Cache-Status` says.

mod address;
mod bench;
mod cache;
mod connection;
mod infer;
mod inputs;
mod model;
mod request;

pub(crate) use bench::run as bench;
pub(crate) use cache::run as cache;
pub(crate) use infer::run as infer;

use connection::{Connection, ConnectionError, Server, ServerError};
use forebay_protocol::messages::ModelInferRequest;
pub(crate) use inputs::InputError;
use inputs::{Asked, given, made_up};
use model::{Model, ModelError};
use request::RequestError;

use crate::engine::signature::Signature;
use crate::settings::InputSettings;

/// Why a model can't be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("this system refuses what a client needs: {0}")]
    System(std::io::Error),
    /// The server's own words.
    #[error("{status}: {said}")]
    Refused { status: String, said: String },
}

/// What the settings ask of a model; its metadata are asked for where they are needed.
///
/// # Errors
/// [`AskError`].
async fn asked(
    server: &Server,
    connection: &mut Connection,
    model: &str,
    inputs: &InputSettings,
    seed: u64,
) -> Result<Asked, AskError> {
    if let Some(path) = &inputs.data {
        return Ok(given(model, inputs, path)?);
    }
    let described = Model::ask(server, connection, model, &inputs.version).await?;
    if !connection.is_open() {
        *connection = server.connect().await?;
    }
    Ok(made_up(&described, inputs, seed)?)
}

/// A request to a model with that signature, of values that are made up; free dimensions are 1, optional inputs are left out.
///
/// # Errors
/// [`InputError`].
pub(crate) fn made_up_for(
    model: &str,
    signature: &Signature,
    seed: u64,
) -> Result<ModelInferRequest, InputError> {
    let inputs = signature.inputs.iter().filter(|spec| !spec.is_optional).map(|spec| model::Tensor {
        name: spec.name.clone(),
        datatype: spec.datatype.as_str().to_owned(),
        shape: spec.shape.clone(),
    });
    let model = Model { name: model.to_owned(), inputs: inputs.collect() };
    let settings = InputSettings {
        version: String::new(),
        data: None,
        input: Vec::new(),
        shape: Vec::new(),
        range: Vec::new(),
        string_length: 8,
        output: Vec::new(),
    };
    Ok(made_up(&model, &settings, seed)?.request)
}
