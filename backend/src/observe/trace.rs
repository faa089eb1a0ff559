//! Trace settings, as Triton's clients ask for them. There is no tracing: every answer says OFF.

use crate::proto::trace_setting_response::SettingValue;
use crate::proto::{TraceSettingRequest, TraceSettingResponse};

/// Triton's name of the setting that says what is traced.
pub(crate) const TRACE_LEVEL: &str = "trace_level";
/// Its only value here.
const OFF: &str = "OFF";

/// A level that nothing is traced at.
#[derive(Debug, thiserror::Error)]
#[error("trace_level {level:?} is not supported; OFF is")]
pub(crate) struct TraceError {
    level: String,
}

/// Tracing is off, and stays off.
///
/// # Errors
/// For any other level.
pub(crate) fn setting(request: &TraceSettingRequest) -> Result<TraceSettingResponse, TraceError> {
    let asked = request.settings.get(TRACE_LEVEL).map(|setting| setting.value.as_slice()).unwrap_or_default();
    if let Some(level) = asked.iter().find(|level| *level != OFF) {
        return Err(TraceError { level: level.clone() });
    }
    let value = vec![OFF.to_owned()];
    Ok(TraceSettingResponse { settings: [(TRACE_LEVEL.to_owned(), SettingValue { value })].into() })
}
