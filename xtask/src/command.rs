//! Running other programs: a command enters; its output, or an error that shows what it said, leaves. What takes long says so.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use humantime::format_duration;
use walkdir::WalkDir;

use crate::layout::Layout;

/// After each such time, a line says that a step still runs; after longer ones, once it has run for [`LONG`].
const PATIENCE: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(30);
const LONGER_PATIENCE: Duration = Duration::from_secs(15);

/// Lines of a failed program's output that are shown.
const SHOWN_LINES: usize = 15;

/// What a command said.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(done: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { ok: done.status.success(), stdout: text(&done.stdout), stderr: text(&done.stderr) }
    }
}

impl Said {
    /// What it wrote to stdout.
    ///
    /// # Errors
    /// It failed; the message shows `line`, which names it, and the last that it said.
    pub(crate) fn well(self, line: &str) -> Result<String> {
        if !self.ok {
            bail!("{line}:\n{}", last_lines(&self.all()));
        }
        Ok(self.stdout)
    }

    /// All that it wrote.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A program with its arguments.
pub(crate) fn command<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs the command unseen and returns what it wrote to stdout. Says every few seconds that it still runs.
///
/// # Errors
/// It can't be started or fails; the last lines of its output are in the message.
pub(crate) fn output(command: Command) -> Result<String> {
    told(command, &String::new)
}

/// As [`output`], for a command that fetches into that folder: says how much is there, of about how much.
///
/// # Errors
/// As [`output`].
pub(crate) fn watched(command: Command, folder: &Path, size: ByteSize) -> Result<String> {
    told(command, &|| progress(folder, size))
}

/// Runs the command, which writes a line to stderr for each thing that it has done, and says how many of about so many are.
///
/// # Errors
/// As [`output`].
pub(crate) fn counted(mut command: Command, of: u32, things: &str) -> Result<()> {
    let name = name(&command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("can't run {name}"))?;
    let (mut said, count) = (String::new(), AtomicU32::new(0));
    let progress = || format!("{} of about {of} {things}, ", count.load(Ordering::Relaxed));
    let status = patiently(&name, &progress, || {
        let lines = child.stderr.take().map(|stream| BufReader::new(stream).lines());
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            said.extend([&line, "\n"]);
        }
        child.wait()
    })?;
    if !status.success() {
        bail!("{name} failed ({status}):\n{}", last_lines(&said));
    }
    Ok(())
}

fn progress(folder: &Path, size: ByteSize) -> String {
    let files = WalkDir::new(folder).into_iter().flatten().filter_map(|entry| entry.metadata().ok());
    let fetched = ByteSize::b(files.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum());
    // What comes after it, unpacking or installing, has no measure.
    let then = if fetched.0 * 100 > size.0 * 95 { "installing, " } else { "" };
    format!("{} of about {}, {then}", fetched.display().si(), size.display().si())
}

fn told(command: Command, progress: &(dyn Fn() -> String + Sync)) -> Result<String> {
    let name = name(&command);
    let output = ended(command, progress)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        bail!("{name} failed ({}):\n{}", output.status, last_lines(&said));
    }
    Ok(stdout)
}

/// Runs the command unseen, whatever it ends with. Says every few seconds that it still runs.
///
/// # Errors
/// It can't be started.
pub(crate) fn ended(mut command: Command, progress: &(dyn Fn() -> String + Sync)) -> Result<Output> {
    let name = name(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("can't run {name}"))?;
    Ok(patiently(&name, progress, || child.wait_with_output())?)
}

/// Runs the command with its output on the terminal.
///
/// # Errors
/// It can't be started or fails.
pub(crate) fn shown(mut command: Command) -> Result<()> {
    let name = name(&command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("can't run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Does something that may take long, and says so while it takes long.
fn patiently<T>(name: &str, progress: &(dyn Fn() -> String + Sync), work: impl FnOnce() -> T) -> T {
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let since = Instant::now();
            let patience = || if since.elapsed() < LONG { PATIENCE } else { LONGER_PATIENCE };
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(patience()) {
                let so_far = format_duration(Duration::from_secs(since.elapsed().as_secs()));
                println!("    … {name}: {}{so_far}", progress());
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// The last lines of a program's output, indented.
pub(crate) fn last_lines(text: &str) -> String {
    rig::process::last_lines(text, SHOWN_LINES)
}

/// The program's name with its first argument, as in "cargo build"; of a module of Python's, the module's.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy);
    let words: Vec<_> = words.skip_while(|word| word.starts_with("python")).collect();
    let named: Vec<&str> = words.iter().filter(|word| !word.starts_with('-')).take(2).map(|w| &**w).collect();
    named.join(" ")
}

/// The program of that name on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Cargo's folder of build outputs, wherever configuration or environment put it.
///
/// # Errors
/// `cargo metadata` fails.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version=1", "--no-deps", "--offline"]).current_dir(root);
    let metadata: serde_json::Value = serde_json::from_str(&output(metadata)?)?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?.into())
}

/// What cargo is told so that everything in the workspace that can is built with TensorRT: the backend as it is released, the
/// bindings and their double, and what tests them.
pub(crate) const WITH_TENSORRT: [&str; 2] = [
    "--features",
    "forebay/tensorrt,forebay-bindings/tensorrt,forebay-tensorrt-double/tensorrt,xtask/tensorrt",
];

/// What a report is of.
pub(crate) struct Stamp {
    /// Twelve digits.
    pub(crate) commit: String,
    /// Of today, as 2026-11-30.
    pub(crate) date: String,
}

impl Stamp {
    /// This checkout's, and today's.
    ///
    /// # Errors
    /// It is no checkout of git's.
    pub(crate) fn of(layout: &Layout) -> Result<Self> {
        let ask = |program: &str, words: &[&str]| -> Result<String> {
            let mut asked = command(program, words);
            asked.current_dir(&layout.root);
            Ok(output(asked)?.trim().to_owned())
        };
        let commit = ask("git", &["rev-parse", "--short=12", "HEAD"])?;
        Ok(Self { commit, date: ask("date", &["-u", "+%Y-%m-%d"])? })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commit {}, {}.", self.commit, self.date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_by_what_it_does() {
        let named = |program: &str, arguments: &[&str]| name(&command(program, arguments));
        assert_eq!(named("/x/venv/bin/python", &["-m", "pip", "install", "--quiet"]), "pip install");
        assert_eq!(named("/usr/bin/python3", &["-m", "venv", "x"]), "venv x");
        assert_eq!(named("cargo", &["--version"]), "cargo");
    }

    #[test]
    fn what_is_fetched_is_told_with_what_is_expected_as_long_as_it_takes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("half"), vec![0; 5_000_000]).unwrap();
        assert_eq!(progress(folder.path(), ByteSize::mb(10)), "5.0 MB of about 10.0 MB, ");
    }
}
