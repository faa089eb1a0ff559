//! Trace settings, as Triton's clients ask for them. There is no tracing: every answer says OFF.

use tonic::Status;

use crate::proto::trace_setting_response::SettingValue;
use crate::proto::{TraceSettingRequest, TraceSettingResponse};

/// Triton's name of the setting that says what is traced.
const TRACE_LEVEL: &str = "trace_level";
/// Its only value here.
const OFF: &str = "OFF";

/// Tracing is off, and stays off.
///
/// # Errors
/// `UNIMPLEMENTED` for any other level.
pub(super) fn setting(request: &TraceSettingRequest) -> Result<TraceSettingResponse, Status> {
    let asked = request.settings.get(TRACE_LEVEL).map(|setting| setting.value.as_slice()).unwrap_or_default();
    if let Some(level) = asked.iter().find(|level| *level != OFF) {
        return Err(Status::unimplemented(format!("trace_level {level:?} is not supported; OFF is")));
    }
    let value = vec![OFF.to_owned()];
    Ok(TraceSettingResponse { settings: [(TRACE_LEVEL.to_owned(), SettingValue { value })].into() })
}
