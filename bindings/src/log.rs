//! TensorRT's log lines enter, events of `tracing` leave.

/// Severities as the header numbers them: `ILogger::Severity`.
const ERROR: i32 = 1;
const WARNING: i32 = 2;
const INFO: i32 = 3;

/// Called by TensorRT's logger, from any thread. An error is told in the `Err` of its call too.
pub(crate) fn heard(severity: i32, text: &[u8]) {
    // Formatting is left to the event: most lines are of levels that nobody listens to.
    let text = std::fmt::from_fn(|to| to.write_str(&String::from_utf8_lossy(text)));
    match severity {
        ..=ERROR => tracing::error!(target: "tensorrt", "{text}"),
        WARNING => tracing::warn!(target: "tensorrt", "{text}"),
        INFO => tracing::info!(target: "tensorrt", "{text}"),
        _ => tracing::debug!(target: "tensorrt", "{text}"),
    }
}
