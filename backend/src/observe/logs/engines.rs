//! What the engines' own libraries say: warnings and errors that each request can bring again. One line a second of each engine
//! passes, and nothing says how many did not: a layer can't write a line of its own. All do while the log is verbose. A run's error
//! is told in its answer too.

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::Seldom;

/// The target of ONNX Runtime's lines.
pub(crate) const ONNXRUNTIME: &str = "onnxruntime";
/// The target of TensorRT's, which the bindings give them.
const TENSORRT: &str = "tensorrt";

/// Leaves out what comes too often.
#[derive(Default)]
pub(super) struct Engines {
    onnxruntime: Seldom,
    tensorrt: Seldom,
}

impl<S: Subscriber> Layer<S> for Engines {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let line = match event.metadata().target() {
            ONNXRUNTIME => &self.onnxruntime,
            TENSORRT => &self.tensorrt,
            _ => return true,
        };
        let repeats = *event.metadata().level() <= Level::WARN && LevelFilter::current() < LevelFilter::DEBUG;
        !repeats || line.due("").is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_engine_that_repeats_itself_is_heard_once_and_others_always() {
        let lines = Lines::default();
        let to = lines.clone();
        let writer = tracing_subscriber::fmt::layer().with_writer(move || to.clone());
        let filter = LevelFilter::INFO;
        let registry = tracing_subscriber::registry().with(filter).with(Engines::default()).with(writer);
        tracing::subscriber::with_default(registry, || {
            for _ in 0..100 {
                tracing::error!(target: ONNXRUNTIME, "one");
                tracing::warn!(target: "tensorrt", "two");
                tracing::info!(target: "tensorrt", "three");
                tracing::warn!("four");
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |word: &str| text.matches(word).count();
        assert_eq!(["one", "two", "three", "four"].map(count), [1, 1, 100, 100]);
    }
}
