//! How busy a GPU is while something else goes on: `nvidia-smi` samples, the mean leaves.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use super::probe;

/// Milliseconds between samples. NVML's own window is a sixth of a second to a second (nvmlDeviceGetUtilizationRates).
const EVERY_MS: &str = "200";

/// Samples until it is ended.
pub(super) struct Busy(Child);

impl Busy {
    /// Begins; `None` without `nvidia-smi`.
    pub(super) fn begin() -> Option<Self> {
        if !probe::has_smi() {
            return None;
        }
        let mut smi = Command::new("nvidia-smi");
        smi.args([
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
            "--id=0",
            "-lms",
            EVERY_MS,
        ]);
        smi.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        smi.spawn().ok().map(Self)
    }

    /// The mean share of time in which a kernel ran, in percent. The samples are far fewer than a pipe holds.
    pub(super) fn end(mut self) -> Option<f64> {
        let _ = self.0.kill();
        let mut said = String::new();
        self.0.stdout.take()?.read_to_string(&mut said).ok()?;
        mean(&said)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Both fail for one that has ended, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Of lines with a number each; the last may have been cut.
fn mean(lines: &str) -> Option<f64> {
    let whole = &lines[..lines.rfind('\n')?];
    let samples: Vec<f64> = whole.lines().filter_map(|line| line.trim().parse().ok()).collect();
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::mean;

    #[test]
    fn a_sample_that_was_cut_does_not_count() {
        assert_eq!(mean("90\n100\n7"), Some(95.0));
        assert_eq!((mean("7"), mean("[N/A]\n")), (None, None));
    }
}
