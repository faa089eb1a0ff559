//! ONNX Runtime, loaded by a thread of its own: most of what it takes is that its operators are registered, and a server has other things to
//! do meanwhile. Who needs it waits for it.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use super::OrtEngine;
use crate::engine::kept::Kept;

type Loaded = Result<OrtEngine, String>;

/// What loads it, until somebody waits for it, and then what came of it.
pub(crate) struct Loading {
    thread: Mutex<Option<JoinHandle<Loaded>>>,
    loaded: OnceLock<Loaded>,
}

/// A process that ends in the middle of it would take away what the library registers as it registers it: whoever holds this waits.
impl Drop for Loading {
    fn drop(&mut self) {
        self.end();
    }
}

impl Loading {
    /// Begins, as [`OrtEngine::load`] says it.
    ///
    /// # Errors
    /// There is no such file, or no thread for it.
    pub(crate) fn begin(path: &Path, intra_op_threads: usize, kept: Option<Kept>) -> Result<Self, String> {
        let wrong = |why: String| format!("can't load {}: {why}", path.display());
        std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        let thread = std::thread::Builder::new().name("onnxruntime".to_owned());
        let thread = thread.spawn({
            let path = path.to_owned();
            move || {
                let engine = OrtEngine::load(&path, intra_op_threads, kept);
                let engine = engine.map_err(|error| format!("can't load {}: {error}", path.display()))?;
                tracing::info!("engine: {}", engine.identity);
                Ok(engine)
            }
        });
        let thread = thread.map_err(|error| wrong(error.to_string()))?;
        Ok(Self { thread: Mutex::new(Some(thread)), loaded: OnceLock::new() })
    }

    /// The engine, when it is there.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn engine(&self) -> Result<&OrtEngine, &str> {
        let joined = || {
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            let joined = thread.and_then(|thread| thread.join().ok());
            joined.unwrap_or_else(|| Err("the thread that loads ONNX Runtime panicked".to_owned()))
        };
        self.loaded.get_or_init(joined).as_ref().map_err(String::as_str)
    }

    /// Waits until nothing is loaded any more.
    pub(crate) fn end(&self) {
        let _ = self.engine();
    }

    /// Why there is none, if somebody has waited for it.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.loaded.get()?.as_ref().err().map(String::as_str)
    }

    /// Does that while no session is opened on the GPU; `None` where one ever was, or is now.
    pub(crate) fn unless_on<T>(&self, gpu: i32, work: impl FnOnce() -> T) -> Option<T> {
        match self.engine() {
            Ok(engine) => engine.gpus.unless_on(gpu, work),
            Err(_) => Some(work()),
        }
    }
}
