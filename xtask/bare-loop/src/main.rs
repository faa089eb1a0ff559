//! A loop over one ONNX model with nothing around it: the base of the server's rows. A process of its own, since it has a processor of
//! its own; built as the server is, with the same bindings.
//!
//! ```text
//! bare-loop LIBRARY MODEL SECONDS ROWS      prints: RUNS SECONDS P50_US
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType, ValueType};

/// Runs before any is measured.
const WARM_UP: usize = 3;
/// What models of bytes get: a letter.
const LETTER: i32 = 65;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, model, seconds, rows] = &arguments[..] else {
        bail!("expected: LIBRARY MODEL SECONDS ROWS");
    };
    let (seconds, rows) = (Duration::from_secs_f64(seconds.parse()?), rows.parse()?);
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let builder = Session::builder(&environment).and_then(|builder| Ok(builder.with_intra_threads(1)?));
    let mut session = builder?.commit_from_file(model).with_context(|| format!("can't open {model}"))?;
    let inputs = inputs(&session, rows)?;
    let mut run = || -> Result<()> {
        let views = inputs.iter().map(|(name, value)| (name.as_str(), SessionInputValue::from(value)));
        session.run(views.collect::<Vec<_>>())?;
        Ok(())
    };
    for _ in 0..WARM_UP {
        run()?;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while start.elapsed() < seconds {
        let began = Instant::now();
        run()?;
        times.push(began.elapsed());
    }
    let elapsed = start.elapsed();
    times.sort_unstable();
    let median = times.get(times.len() / 2).context("no run ended in time")?;
    println!("{} {} {}", times.len(), elapsed.as_secs_f64(), median.as_micros());
    Ok(())
}

/// A value for each input; dimensions that the model leaves open are `rows`.
fn inputs(session: &Session, rows: usize) -> Result<Vec<(String, ort::value::DynValue)>> {
    let value = |outlet: &ort::value::Outlet| {
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
            bail!("{} is no tensor", outlet.name());
        };
        let shape: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(rows)).collect();
        let count = shape.iter().product();
        let value = match ty {
            TensorElementType::Int32 => Tensor::from_array((shape, vec![LETTER; count]))?.into_dyn(),
            TensorElementType::Float32 => {
                let values: Vec<f32> = (0..count).map(|index| index as f32 / 10_000.0).collect();
                Tensor::from_array((shape, values))?.into_dyn()
            }
            other => {
                bail!("{} is of {other}: the models of the benchmark have INT32 and FP32", outlet.name())
            }
        };
        Ok((outlet.name().to_owned(), value))
    };
    session.inputs().iter().map(value).collect()
}
