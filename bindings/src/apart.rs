//! A model in a file enters, a plan in a file leaves, built in a process of its own: a model that ends NVIDIA's parser or builder
//! ends that process alone, one that takes for ever is stopped, and none outlives the process that asked for it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::builder::{BuildOptions, Network, Plan};
use crate::cuda::Driver;
use crate::error::Error;
use crate::flavour::Flavour;
use crate::library::Library;

/// How often it is looked whether the process has ended.
const POLL: Duration = Duration::from_millis(20);

/// A plan that a process of its own shall build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The library, as for [`Library::open`].
    pub library: PathBuf,
    /// Its flavour.
    pub flavour: Flavour,
    /// The number of the GPU to build for; `None` where the flavour needs none.
    pub device: Option<usize>,
    /// The ONNX model; files of weights are looked for beside it.
    pub model: PathBuf,
    /// Where the plan is written. An error goes to a file of the same name with `.error` added, until it is read.
    pub plan: PathBuf,
    /// The file of what builds learn of kernels' times, which takes the place of [`BuildOptions::timing_cache`]: read if it is
    /// there, and written anew.
    pub timing_cache: Option<PathBuf>,
    /// How it is built.
    pub options: BuildOptions,
}

impl Job {
    /// Does the job in a process: `program` must do nothing but [`Job::serve`]. Its log lines go where it sends them. It is
    /// ended once `stopped` is true; that is asked every few milliseconds.
    ///
    /// # Errors
    /// What it says; or it can't be started, was ended by a signal, was stopped, or took longer than the limit.
    pub fn run(
        &self,
        program: &mut Command,
        limit: Duration,
        stopped: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let job =
            serde_json::to_vec(self).map_err(|error| apart(&format!("can't be told its job: {error}")))?;
        let spawned = program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = Running(spawned.map_err(|error| apart(&format!("can't be started: {error}")))?);
        let mut stdin = child.0.stdin.take();
        if let Some(stdin) = &mut stdin {
            // A process that ended before it read its job is told of below.
            let _ = stdin.write_all(&job);
        }
        let status = child.wait(limit, stopped)?;
        // Its end would have ended the process.
        drop(stdin);
        let said = fs::read_to_string(self.error_file());
        let _ = fs::remove_file(self.error_file());
        match (status.success(), said, status.signal()) {
            (true, ..) => Ok(()),
            (_, Ok(said), _) => Err(Error::Apart(said)),
            (.., Some(signal)) => Err(apart(&format!("was ended by signal {signal}"))),
            _ => Err(apart(&format!("ended without a word ({status})"))),
        }
    }

    /// The whole of such a process: a job from stdin is done, as long as stdin stays open.
    pub fn serve() -> ExitCode {
        let mut stdin = serde_json::Deserializer::from_reader(io::stdin());
        let job = match Self::deserialize(&mut stdin) {
            Ok(job) => job,
            Err(error) => {
                eprintln!("no job is on stdin: {error}");
                return ExitCode::from(2);
            }
        };
        thread::spawn(end_with_stdin);
        let Err(error) = job.build() else { return ExitCode::SUCCESS };
        if fs::write(job.error_file(), error.to_string()).is_err() {
            eprintln!("{error}");
        }
        ExitCode::FAILURE
    }

    fn build(&self) -> Result<(), Error> {
        let device = match self.device {
            Some(ordinal) => Some(Driver::load()?.device(ordinal)?),
            None => None,
        };
        let file =
            |what, path: &Path, error| Error::Wrong(format!("can't {what} {}: {error}", path.display()));
        let model = fs::read(&self.model).map_err(|error| file("read", &self.model, error))?;
        let builder = Library::open(&self.library, self.flavour)?.builder(device.as_ref());
        let mut network = builder.parse(&model, Some(&self.model))?;
        let plan = self.build_network(&mut network)?;
        fs::write(&self.plan, &plan[..]).map_err(|error| file("write", &self.plan, error))?;
        if let Some(path) = &self.timing_cache {
            let cache = network.timing_cache()?;
            fs::write(path, cache).map_err(|error| file("write", path, error))?;
        }
        Ok(())
    }

    fn build_network(&self, network: &mut Network) -> Result<Plan, Error> {
        // One that isn't there, or can't be read, is as empty.
        let learnt = self.timing_cache.as_ref().map(|path| fs::read(path).unwrap_or_default());
        let knows = learnt.as_ref().is_some_and(|learnt| !learnt.is_empty());
        let mut options = BuildOptions { timing_cache: learnt, ..self.options.clone() };
        match network.build(&options) {
            // TensorRT may refuse what it learnt elsewhere: that is no reason to have no plan.
            Err(error) if knows => {
                tracing::warn!("built again without the timing cache: {error}");
                options.timing_cache = Some(Vec::new());
                network.build(&options)
            }
            built => built,
        }
    }

    fn error_file(&self) -> PathBuf {
        let mut name = self.plan.clone().into_os_string();
        name.push(".error");
        name.into()
    }
}

fn apart(what: &str) -> Error {
    Error::Apart(format!("the process that builds the plan {what}"))
}

/// Ends this process when stdin does: with whoever asked for its work, however that ended.
fn end_with_stdin() {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    // An orderly exit would destroy what TensorRT's threads are using, and may wait for them.
    std::process::abort();
}

/// A process that doesn't outlive this.
struct Running(Child);

impl Running {
    fn wait(&mut self, limit: Duration, stopped: impl Fn() -> bool) -> Result<ExitStatus, Error> {
        let since = Instant::now();
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if stopped() => return Err(apart("was stopped: its plan is wanted no more")),
                Ok(None) if since.elapsed() < limit => thread::sleep(POLL.min(limit)),
                Ok(None) => return Err(apart(&format!("took longer than {limit:?} and was stopped"))),
                Err(error) => return Err(apart(&format!("is lost: {error}"))),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for one that has ended, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
