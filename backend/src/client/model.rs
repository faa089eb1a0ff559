//! What a server says of a model: its inputs, by HTTP's or gRPC's metadata.

use forebay_protocol::path::encoded;
use prost::Message as _;
use serde::Deserialize;

use super::connection::{Connection, ConnectionError, Server, Status};
use super::request::{Request, RequestError};
use crate::proto::{ModelMetadataRequest, ModelMetadataResponse};

/// A model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) inputs: Vec<Tensor>,
}

/// HTTP's metadata. Servers that don't know a model's inputs leave them out, or say `null`.
#[derive(Deserialize)]
struct Metadata {
    inputs: Option<Vec<Tensor>>,
}

/// An input; free dimensions are negative.
#[derive(Debug, Deserialize)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<i64>,
}

/// A model that nothing is known of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the server doesn't describe the model: {status}: {said}")]
    Refused { status: String, said: String },
    #[error("the model's metadata can't be read: {0}")]
    Metadata(String),
}

impl Model {
    /// Asks for it.
    ///
    /// # Errors
    /// [`ModelError`].
    pub(super) async fn ask(
        server: &Server,
        connection: &mut Connection,
        name: &str,
        version: &str,
    ) -> Result<Self, ModelError> {
        let mut request = if server.is_grpc {
            let asked = ModelMetadataRequest { name: name.to_owned(), version: version.to_owned() };
            Request::call_of(server, "ModelMetadata", &asked.encode_to_vec())?
        } else {
            let version =
                if version.is_empty() { String::new() } else { format!("/versions/{}", encoded(version)) };
            Request::get(server, &format!("/v2/models/{}{version}", encoded(name)))
        };
        let answer = connection.ask(&mut request, server.timeout).await?;
        let unreadable = |error: String| ModelError::Metadata(error);
        match answer.status {
            Status::Grpc(0) => {
                let said = ModelMetadataResponse::decode(answer.body)
                    .map_err(|error| unreadable(error.to_string()))?;
                let inputs = said.inputs.into_iter().map(|input| Tensor {
                    name: input.name,
                    datatype: input.datatype,
                    shape: input.shape,
                });
                Ok(Self { name: name.to_owned(), inputs: inputs.collect() })
            }
            Status::Http(200) => {
                let said: Metadata =
                    serde_json::from_slice(answer.body).map_err(|error| unreadable(error.to_string()))?;
                Ok(Self { name: name.to_owned(), inputs: said.inputs.unwrap_or_default() })
            }
            status => Err(ModelError::Refused { status: status.to_string(), said: answer.error() }),
        }
    }
}
