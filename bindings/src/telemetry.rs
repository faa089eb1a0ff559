//! ONNX Runtime tells its maker of its use. Its own call that turns this off comes too late: the library has begun with it when it is
//! loaded, and looks up a name of Microsoft's some seconds later. The environment is asked before that, so it is set here.

use std::env;
use std::fs;
use std::io;

/// Who has set it has decided, whatever it says; one that is empty is none.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Why it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The environment belongs to all threads, and any of them may read it at any time.
    #[error("the program has {0} threads already: set {VARIABLE}=1 where it is started")]
    Threads(usize),
    /// Nobody tells how many there are.
    #[error("/proc/self/task tells no threads ({0}): set {VARIABLE}=1 where the program is started")]
    Unknown(#[from] io::Error),
}

/// Turns it off, for an ONNX Runtime that is loaded later. To be called as the first thing that a program does.
///
/// # Errors
/// Other threads run, or it can't be known; nothing is changed then.
pub fn off() -> Result<(), TelemetryError> {
    if env::var_os(VARIABLE).is_some_and(|value| !value.is_empty()) {
        return Ok(());
    }
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(TelemetryError::Threads(threads));
    }
    // SAFETY: this thread is the only one, and starts none meanwhile, so nobody reads the environment while it is changed.
    unsafe { env::set_var(VARIABLE, "1") };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_stays_as_it_is_where_threads_run() {
        // Tests are threads beside the one that waits for them.
        let before = env::var_os(VARIABLE);
        let told = off();
        assert!(before.is_some() || matches!(told, Err(TelemetryError::Threads(2..))), "{told:?}");
        assert_eq!(env::var_os(VARIABLE), before);
    }
}
