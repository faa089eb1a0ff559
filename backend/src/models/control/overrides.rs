//! Parameters of a load by call -> the configuration and the files that take the folder's place, for this load.

use std::path::{Component, Path};

use super::{ControlError, FILE, Parameters, repository};
use crate::body::budget::{Charge, Spent};
use crate::config::{self, Written};
use crate::proto::ModelRepositoryParameter;
use crate::proto::model_repository_parameter::ParameterChoice;

/// The parameter that takes `config.pbtxt`'s place, as JSON.
const CONFIG: &str = "config";

/// What came with a load by call. It waits for its turn with it, though the caller may have left.
pub(crate) struct Brought {
    parameters: Parameters,
    /// Of all that requests may hold.
    _charge: Charge,
}

impl Brought {
    /// `charge` is that of the message that they came in.
    ///
    /// # Errors
    /// `Spent`: unpacked they are larger, and there is no room.
    pub(crate) fn new(parameters: Parameters, charge: Charge) -> Result<Self, Spent> {
        let bytes = |parameter: &ModelRepositoryParameter| match &parameter.parameter_choice {
            Some(ParameterChoice::BytesParam(bytes)) => bytes.len(),
            Some(ParameterChoice::StringParam(text)) => text.len(),
            _ => 0,
        };
        charge.settle(parameters.iter().map(|(name, parameter)| name.len() + bytes(parameter)).sum())?;
        Ok(Self { parameters, _charge: charge })
    }
}

/// What takes the folder's place.
pub(super) struct Overrides {
    pub(super) config: Option<Written>,
    /// A repository of this one model; gone when it is loaded, for files are read once.
    pub(super) files: Option<tempfile::TempDir>,
}

impl Overrides {
    /// Reads the parameters of a load of that model. Files are on disk then, and not held any more.
    ///
    /// # Errors
    /// `Parameter`, `Config` and `Files`.
    #[allow(clippy::needless_pass_by_value)] // what was brought goes
    pub(super) fn of(model: &str, brought: Brought) -> Result<Self, ControlError> {
        let mut overrides = Self { config: None, files: None };
        for (name, parameter) in &brought.parameters {
            let wrong = |reason: &str| ControlError::Parameter {
                model: model.to_owned(),
                parameter: name.clone(),
                reason: reason.to_owned(),
            };
            match (name.strip_prefix(FILE), &parameter.parameter_choice) {
                (None, Some(ParameterChoice::StringParam(text))) if name == CONFIG => {
                    let config = config::from_json(text, model);
                    let config = config.map_err(|error| ControlError::Config {
                        model: model.to_owned(),
                        source: error.into(),
                    })?;
                    overrides.config = Some(config);
                }
                (None, _) if name == CONFIG => {
                    return Err(wrong("must be a string, the configuration as JSON"));
                }
                (Some(path), Some(ParameterChoice::BytesParam(bytes))) => {
                    let path = Path::new(path);
                    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
                    if path.components().count() == 0
                        || !path.components().all(is_plain)
                        || !repository::is_name(model)
                    {
                        return Err(wrong(
                            "must be a path inside the model's folder, such as file:1/model.onnx",
                        ));
                    }
                    overrides
                        .add(&Path::new(model).join(path), bytes)
                        .map_err(|source| ControlError::Files { model: model.to_owned(), source })?;
                }
                (Some(_), _) => return Err(wrong("must be the file's bytes")),
                (None, _) => return Err(wrong("is not known; config and file:<path> are")),
            }
        }
        Ok(overrides)
    }

    fn add(&mut self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let folder = match &mut self.files {
            Some(folder) => folder,
            none => none.insert(tempfile::tempdir()?),
        };
        let path = folder.path().join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)
    }
}
