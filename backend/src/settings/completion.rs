//! `--backend-config` and `--disable-auto-complete-config`, as Triton has them -> what is filled in where a `config.pbtxt` says
//! nothing. Next: `models` completes each configuration by it.

use clap::{ArgAction, Args};

use super::{SettingsError, wrong};

const BACKEND_CONFIG: &str = "--backend-config";
/// The setting that is served.
const MAX_BATCH_SIZE: &str = "default-max-batch-size";
/// What Triton has other flags for, or has no meaning here, and what has.
const OTHERS: [(&str, &str); 8] = [
    ("auto-complete-config", "is --disable-auto-complete-config"),
    (
        "backend-directory",
        "names libraries of backends; engines are this program's own (--onnxruntime, --tensorrt)",
    ),
    ("enable-global-threadpool", "is always so: all sessions share a pool (--intra-op-threads)"),
    ("intra_op_thread_count", "is --intra-op-threads"),
    ("inter_op_thread_count", "is 1; a model's own is its parameter inter_op_thread_count"),
    ("min-compute-capability", "is not served: what a GPU can't run is refused when it is loaded"),
    ("shm-default-byte-size", "is for a backend that is not served"),
    ("triton-backend-memory-tracker", "is not served; forebay_gpu_bytes tells what models hold"),
];

/// What is filled in where a configuration says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Else a configuration must say it all.
    pub(crate) is_on: bool,
    /// Of models whose first dimensions are free.
    pub(crate) max_batch_size: i32,
}

/// As Triton has it (`backend_config_defaults` in `backend_model.cc`).
impl Default for Completion {
    fn default() -> Self {
        Self { is_on: true, max_batch_size: 4 }
    }
}

/// How configurations are completed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct CompletionSettings {
    /// Triton's flag: onnxruntime,default-max-batch-size=N is the `max_batch_size` of ONNX models that list no inputs or no outputs,
    /// say none, and leave all first dimensions free; 0 for none [default: 4]. No other setting is served (the variable takes
    /// lines)
    #[arg(
        long = "backend-config",
        env = "FOREBAY_BACKEND_CONFIG",
        value_delimiter = '\n',
        value_name = "BACKEND,SETTING=VALUE"
    )]
    said: Vec<String>,
    /// Refuse models whose config.pbtxt is missing, or lists no inputs or no outputs, instead of reading them from the model
    #[arg(long = "disable-auto-complete-config", env = "FOREBAY_DISABLE_AUTO_COMPLETE_CONFIG")]
    disabled: bool,
    /// Triton's older name: true is --disable-auto-complete-config
    #[arg(long = "strict-model-config", env = "FOREBAY_STRICT_MODEL_CONFIG", action = ArgAction::Set, hide = true,
          num_args = 0..=1, default_missing_value = "true")]
    strict: Option<bool>,
}

impl CompletionSettings {
    /// What the flags say.
    ///
    /// # Errors
    /// A setting that isn't served.
    pub(crate) fn completion(&self) -> Result<Completion, SettingsError> {
        let mut completion = Completion::default();
        let is_strict = self.strict.unwrap_or_default();
        if self.disabled && self.strict == Some(false) {
            return Err(wrong(
                "--strict-model-config",
                "is false, but there is --disable-auto-complete-config",
            ));
        }
        completion.is_on = !self.disabled && !is_strict;
        for said in &self.said {
            let form = || wrong(BACKEND_CONFIG, format!("{said:?} must be <backend>,<setting>=<value>"));
            let (setting, value) = said.split_once('=').ok_or_else(form)?;
            // Without a backend it is for all of them, as in Triton.
            let (backend, setting) = setting.split_once(',').unwrap_or(("", setting));
            if !["", "onnxruntime", "tensorrt"].contains(&backend) {
                let reason =
                    format!("{backend:?} is no backend of this server; onnxruntime and tensorrt are");
                return Err(wrong(BACKEND_CONFIG, reason));
            }
            if let Some((_, instead)) = OTHERS.iter().find(|(other, _)| *other == setting) {
                return Err(wrong(BACKEND_CONFIG, format!("{setting} {instead}")));
            }
            if setting != MAX_BATCH_SIZE {
                return Err(wrong(BACKEND_CONFIG, format!("{setting:?} is not served; {MAX_BATCH_SIZE} is")));
            }
            if backend == "tensorrt" {
                let reason = format!(
                    "{MAX_BATCH_SIZE} is for onnxruntime; of a plan config.pbtxt says max_batch_size"
                );
                return Err(wrong(BACKEND_CONFIG, reason));
            }
            let size = value.parse().ok().filter(|size| *size >= 0);
            let reason = || format!("{MAX_BATCH_SIZE} is {value:?}, must be a whole number, 0 or more");
            completion.max_batch_size = size.ok_or_else(|| wrong(BACKEND_CONFIG, reason()))?;
        }
        Ok(completion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(backend_config: &[&str]) -> Result<Completion, String> {
        let said = backend_config.iter().map(ToString::to_string).collect();
        let settings = CompletionSettings { said, disabled: false, strict: None };
        settings.completion().map_err(|error| error.to_string())
    }

    #[test]
    fn the_batch_that_is_filled_in_is_what_the_flag_says_or_4() {
        let size = |said: &[&str]| completion(said).unwrap().max_batch_size;
        assert_eq!(size(&[]), 4);
        assert_eq!(size(&["onnxruntime,default-max-batch-size=16"]), 16);
        assert_eq!(size(&["default-max-batch-size=0"]), 0);
    }

    #[test]
    fn a_setting_that_is_not_served_is_refused_with_what_is() {
        for (said, expected) in [
            ("onnxruntime", "must be <backend>,<setting>=<value>"),
            ("onnxruntime,default-max-batch-size=-1", "is \"-1\", must be a whole number"),
            ("onnxruntime,default-max-batch-size=many", "is \"many\""),
            ("tensorrt,default-max-batch-size=4", "is for onnxruntime"),
            ("python,shm-default-byte-size=1", "\"python\" is no backend"),
            ("onnxruntime,enable-global-threadpool=1", "--intra-op-threads"),
            ("backend-directory=/x", "--onnxruntime"),
            ("onnxruntime,future=1", "\"future\" is not served; default-max-batch-size is"),
        ] {
            let error = completion(&[said]).unwrap_err();
            assert!(error.starts_with(BACKEND_CONFIG) && error.contains(expected), "{said}: {error}");
        }
    }

    #[test]
    fn who_wants_whole_configurations_says_it_by_either_name() {
        let is_on = |disabled, strict| {
            let said = Vec::new();
            CompletionSettings { said, disabled, strict }.completion().map(|completion| completion.is_on)
        };
        assert!(is_on(false, None).unwrap() && is_on(false, Some(false)).unwrap());
        assert!(!is_on(true, None).unwrap() && !is_on(false, Some(true)).unwrap());
        assert!(is_on(true, Some(false)).is_err());
    }
}
