//! What the server and its models say of themselves, as messages. Next: gRPC sends them, HTTP writes them as JSON.

use std::sync::Arc;

use forebay_protocol::datatype::DataType;

use super::{Models, UnknownModel, Version};
use crate::engine::signature::TensorSpec;
use crate::proto::model_metadata_response::TensorMetadata;
use crate::proto::{ModelMetadataResponse, ModelStatisticsResponse, ServerMetadataResponse};

/// Name, version, extensions.
pub(crate) fn server() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "forebay".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: [
            "binary_tensor_data",
            "classification",
            "logging",
            "model_configuration",
            "model_repository",
            "model_repository(unload_dependents)",
            "schedule_policy",
            "statistics",
            "trace",
        ]
        .map(str::to_owned)
        .into(),
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

/// What a model's version did, or all of its versions, or those of all models (`name` "").
///
/// # Errors
/// When there is no such model or version.
pub(crate) fn statistics(
    models: &Models,
    name: &str,
    asked: &str,
) -> Result<ModelStatisticsResponse, UnknownModel> {
    let set = models.current();
    let mut found: Vec<(&str, Arc<Version>)> = Vec::new();
    if name.is_empty() {
        let all = set.models.iter().flat_map(|(name, model)| {
            model.versions.values().map(|version| (name.as_str(), version.clone()))
        });
        found.extend(all);
        found.sort_by_key(|(name, _)| *name);
    } else if asked.is_empty() {
        for version in models.versions(name)? {
            found.push((name, models.find(name, &version)?));
        }
    } else {
        found.push((name, models.find(name, asked)?));
    }
    let stats = found.iter().map(|(name, version)| version.statistics.snapshot(name, &version.number));
    Ok(ModelStatisticsResponse { model_stats: stats.collect() })
}
