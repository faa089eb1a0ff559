//! Settings -> structured logs on stderr; stdout carries the ready line alone. What is logged can be changed by call, as
//! Triton's logging extension has it.

pub(crate) mod engines;
mod seldom;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::class::Class;
use crate::proto::log_settings_request::setting_value::ParameterChoice as Asked;
use crate::proto::log_settings_response::SettingValue;
use crate::proto::log_settings_response::setting_value::ParameterChoice;
use crate::proto::{LogSettingsRequest, LogSettingsResponse};
use crate::settings::{LogFormat, LogSettings, SettingsError};

use engines::Engines;
pub(crate) use seldom::{Seldom, seldom};

/// Settings by call that are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("log setting '{name}' must be {expected}")]
    Kind { name: String, expected: &'static str },
    #[error("log setting '{name}' can't be changed here; {instead}")]
    Fixed { name: String, instead: &'static str },
    #[error("log setting '{name}' is not known; log_info, log_warning, log_error and log_verbose_level are")]
    Unknown { name: String },
    #[error("the log can't be changed: {0}")]
    Reload(#[from] reload::Error),
}

impl LogError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Reload(_) => Class::Failed,
            Self::Fixed { .. } => Class::Unimplemented,
            Self::Kind { .. } | Self::Unknown { .. } => Class::Wrong,
        }
    }
}

/// What is logged, by Triton's names.
#[derive(Debug, Clone, Copy)]
struct Levels {
    info: bool,
    warning: bool,
    error: bool,
    /// 1 is debug, more is trace.
    verbose: u32,
}

/// The running log.
#[derive(Clone)]
pub(crate) struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
    levels: Arc<Mutex<Levels>>,
}

/// What libraries say of clients' wrongs, which a client can repeat as it likes; a directive of the same name brings it back.
const QUIET: &str = "h2=off";

/// Starts logging. Once a process.
///
/// # Errors
/// When the filter can't be parsed.
pub(crate) fn start(settings: &LogSettings) -> Result<Logs, SettingsError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.log))
        .map_err(|error| SettingsError::Wrong { flag: "--log", reason: error.to_string() })?;
    let levels = Levels::of(filter.max_level_hint().unwrap_or(LevelFilter::TRACE));
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter).with(Engines::default());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_span_list(false)).init(),
        LogFormat::Text => registry.with(lines).init(),
    }
    Ok(Logs { filter: handle, levels: Arc::new(Mutex::new(levels)) })
}

/// Says why the program ends, in one line: as all others are where lines are JSON, whatever is logged.
pub(crate) fn say_end(reason: &str, format: LogFormat) {
    match format {
        LogFormat::Text => eprintln!("forebay: {reason}"),
        LogFormat::Json => {
            let timestamp = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
            let reason = Value::from(reason);
            eprintln!(
                r#"{{"timestamp":"{timestamp}","level":"ERROR","message":{reason},"target":"forebay"}}"#
            );
        }
    }
}

impl Logs {
    /// Changes what is asked for, and tells all of it.
    ///
    /// # Errors
    /// For settings that are unknown, of another kind, or can't be changed; nothing is changed then.
    pub(crate) fn settings(&self, asked: &LogSettingsRequest) -> Result<LogSettingsResponse, LogError> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = *levels;
        for (name, setting) in &asked.settings {
            changed.set(name, setting.parameter_choice.as_ref())?;
        }
        if !asked.settings.is_empty() {
            self.filter.reload(EnvFilter::new(format!("{QUIET},{}", changed.filter())))?;
            *levels = changed;
        }
        Ok(changed.told())
    }
}

impl Levels {
    fn of(most: LevelFilter) -> Self {
        let verbose = match most {
            LevelFilter::TRACE => 2,
            LevelFilter::DEBUG => 1,
            _ => 0,
        };
        let logs = |level: LevelFilter| most >= level;
        Self {
            info: logs(LevelFilter::INFO),
            warning: logs(LevelFilter::WARN),
            error: logs(LevelFilter::ERROR),
            verbose,
        }
    }

    /// Levels are a ladder here: who wants one gets those above it too.
    fn filter(self) -> LevelFilter {
        match self {
            Self { verbose: 2.., .. } => LevelFilter::TRACE,
            Self { verbose: 1, .. } => LevelFilter::DEBUG,
            Self { info: true, .. } => LevelFilter::INFO,
            Self { warning: true, .. } => LevelFilter::WARN,
            Self { error: true, .. } => LevelFilter::ERROR,
            _ => LevelFilter::OFF,
        }
    }

    fn set(&mut self, name: &str, value: Option<&Asked>) -> Result<(), LogError> {
        let kind = |expected| LogError::Kind { name: name.to_owned(), expected };
        let fixed = |instead| LogError::Fixed { name: name.to_owned(), instead };
        let flag = match name {
            "log_info" => &mut self.info,
            "log_warning" => &mut self.warning,
            "log_error" => &mut self.error,
            "log_verbose_level" => {
                let Some(Asked::Uint32Param(level)) = value else {
                    return Err(kind("a whole number, 0 or more"));
                };
                self.verbose = *level;
                return Ok(());
            }
            "log_file" => return Err(fixed("lines go to stderr")),
            "log_format" => return Err(fixed("start with --log-format")),
            _ => return Err(LogError::Unknown { name: name.to_owned() }),
        };
        let Some(Asked::BoolParam(value)) = value else { return Err(kind("true or false")) };
        *flag = *value;
        Ok(())
    }

    fn told(self) -> LogSettingsResponse {
        let setting = |choice| SettingValue { parameter_choice: Some(choice) };
        let settings: BTreeMap<String, SettingValue> = [
            ("log_file", ParameterChoice::StringParam(String::new())),
            ("log_info", ParameterChoice::BoolParam(self.info)),
            ("log_warning", ParameterChoice::BoolParam(self.warning)),
            ("log_error", ParameterChoice::BoolParam(self.error)),
            ("log_verbose_level", ParameterChoice::Uint32Param(self.verbose)),
            ("log_format", ParameterChoice::StringParam("default".to_owned())),
        ]
        .map(|(name, choice)| (name.to_owned(), setting(choice)))
        .into();
        LogSettingsResponse { settings }
    }
}
