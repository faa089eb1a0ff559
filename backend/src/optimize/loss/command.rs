//! A metric that is the user's command: it finds folders of outputs and inputs, and says a number for each item.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use serde::Deserialize;

use super::super::process::{self, Bounds, ProcessError};
use super::{Compared, Loss, LossError, Measure, bounds};

/// Bytes that a metric may say.
const MOST_SAID: u64 = 16 << 20;

/// A command that is no metric.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("the command {0}")]
    Process(String),
    #[error("the command ended with {0}")]
    Ended(std::process::ExitStatus),
    #[error(
        "the command printed {0}; a JSON array with a number, or a pair of numbers, for each item is expected, or one number"
    )]
    Nonsense(String),
    #[error("the command printed {got} items, there are {items}")]
    Items { got: usize, items: usize },
    #[error("can't write {0}")]
    File(std::io::Error),
    #[error("stopped")]
    Stopped,
}

/// What a command says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Items(Vec<Value>),
    All(f64),
}

/// Of one item.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Value {
    One(f64),
    /// To be summed and divided, as errors and letters are.
    Pair(f64, f64),
}

impl Value {
    fn pair(self) -> (f64, f64) {
        match self {
            Self::One(value) => (value, 1.0),
            Self::Pair(value, of) => (value, of),
        }
    }
}

/// The drop of what the command says.
///
/// # Errors
/// It fails, hangs, or says what is no metric.
pub(super) fn loss(
    measure: &Measure<'_>,
    line: &str,
    compared: Compared<'_>,
    stop: &AtomicBool,
) -> Result<Loss, LossError> {
    let before = of_original(measure, line, compared, stop)?;
    let (_, after) = ask(measure, line, compared, compared.variant, stop)?;
    let items = compared.items.len();
    let drop = |was: f64, is: f64, bound| Loss {
        points: 100.0 * (was - is),
        bound,
        items,
        disagreements: None,
        values: Some((100.0 * was, 100.0 * is)),
        worst: None,
    };
    match (before, after) {
        (Said::All(was), Said::All(is)) => Ok(drop(was, is, None)),
        (Said::Items(before), Said::Items(after)) => {
            for got in [before.len(), after.len()] {
                if got != items {
                    return Err(CommandError::Items { got, items }.into());
                }
            }
            let once = vec![1; items];
            let value = |values: &[Value], times: &[u32]| {
                let pairs = values.iter().zip(times).map(|(value, times)| (value.pair(), f64::from(*times)));
                let (sum, of) = pairs.fold((0.0, 0.0), |(sum, of), ((value, weight), times)| {
                    (sum + value * times, of + weight * times)
                });
                sum / of
            };
            let bound = bounds::drawn(compared.items, measure.seed, |times| {
                100.0 * (value(&before, times) - value(&after, times))
            });
            Ok(drop(value(&before, &once), value(&after, &once), Some(bound)))
        }
        _ => Err(CommandError::Nonsense("one number of one, and items of the other".to_owned()).into()),
    }
}

/// What it says of the original: asked once, for each variant is held against it.
fn of_original(
    measure: &Measure<'_>,
    line: &str,
    compared: Compared<'_>,
    stop: &AtomicBool,
) -> Result<Said, CommandError> {
    let kept = compared.original.with_extension("said");
    if let Some(said) = fs::read_to_string(&kept).ok().as_deref().and_then(understood) {
        return Ok(said);
    }
    let (text, said) = ask(measure, line, compared, compared.original, stop)?;
    fs::write(&kept, text).map_err(CommandError::File)?;
    Ok(said)
}

/// What the command says of those outputs, in its own words too.
fn ask(
    measure: &Measure<'_>,
    line: &str,
    compared: Compared<'_>,
    outputs: &Path,
    stop: &AtomicBool,
) -> Result<(String, Said), CommandError> {
    let labels: Vec<Option<f64>> = compared.items.iter().map(|item| item.label).collect();
    let mut file = tempfile::NamedTempFile::new().map_err(CommandError::File)?;
    file.write_all(serde_json::json!(labels).to_string().as_bytes()).map_err(CommandError::File)?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).stderr(Stdio::inherit());
    command.env("FOREBAY_OUTPUTS", outputs).env("FOREBAY_INPUTS", compared.inputs);
    command.env("FOREBAY_LABELS", file.path());
    let bounds = Bounds { time: measure.settings.metric_timeout_secs, output: MOST_SAID, stop };
    let left = process::run(command, b"", bounds).map_err(|error| match error {
        ProcessError::Stopped => CommandError::Stopped,
        other => CommandError::Process(other.to_string()),
    })?;
    if !left.status.success() {
        return Err(CommandError::Ended(left.status));
    }
    let text = String::from_utf8_lossy(&left.output).into_owned();
    let begin = || format!("{:?}", text.trim().chars().take(80).collect::<String>());
    let said = understood(&text).ok_or_else(|| CommandError::Nonsense(begin()))?;
    Ok((text, said))
}

fn understood(text: &str) -> Option<Said> {
    serde_json::from_str::<Said>(text.trim()).ok().filter(|said| match said {
        Said::All(value) => value.is_finite(),
        Said::Items(values) => values.iter().all(|value| value.pair().0.is_finite() && value.pair().1 >= 0.0),
    })
}
