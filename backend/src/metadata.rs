//! What the server and its models say of themselves, as messages. Next: gRPC sends them, HTTP writes them as JSON.

use forebay_protocol::datatype::DataType;

use crate::models::{Models, UnknownModel};
use crate::proto::model_metadata_response::TensorMetadata;
use crate::proto::{ModelMetadataResponse, ServerMetadataResponse};
use crate::signature::TensorSpec;

/// Name, version, extensions.
pub(crate) fn server() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "forebay".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: ["binary_tensor_data", "model_configuration"].map(str::to_owned).into(),
    }
}

/// A model's tensors and versions.
///
/// # Errors
/// When it is not served.
pub(crate) fn model(models: &Models, name: &str, asked: &str) -> Result<ModelMetadataResponse, UnknownModel> {
    let version = models.find(name, asked)?;
    Ok(ModelMetadataResponse {
        name: name.to_owned(),
        versions: models.versions(name)?,
        platform: version.platform.to_owned(),
        inputs: version.signature.inputs.iter().map(tensor).collect(),
        outputs: version.signature.outputs.iter().map(tensor).collect(),
    })
}

fn tensor(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata {
        name: spec.name.clone(),
        datatype: DataType::as_str(spec.datatype).to_owned(),
        shape: spec.shape.clone(),
    }
}
