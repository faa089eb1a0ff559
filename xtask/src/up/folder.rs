//! The folder of one running copy, `.forebay/run/<name>/`: its lock, secrets, models and logs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::WrongSetting;
use crate::layout::Layout;

/// Bytes of a generated secret, as many as BLAKE3's keys have.
const SECRET_BYTES: usize = 32;

/// A folder that is ours while this lives.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Held until the copy ends.
    _lock: File,
}

impl Folder {
    /// Takes the folder of that name, empties it and copies the models into it.
    ///
    /// # Errors
    /// Another copy of that name runs, or a model is not there.
    pub(super) fn claim(layout: &Layout, name: &str, models: &[String]) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(plain) {
            bail!(WrongSetting(format!("--name {name:?} must consist of letters, digits, '-' and '_'")));
        }
        let path = layout.run(name);
        fs::create_dir_all(&path).with_context(|| format!("can't create {}", path.display()))?;
        let lock = File::create(path.with_extension("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("a copy named {name} runs already; choose another --name and ports")
            }
            Err(TryLockError::Error(error)) => return Err(error).context("can't lock the run folder"),
        }
        fs::remove_dir_all(&path)?;
        fs::create_dir(&path)?;
        let folder = Self { path, _lock: lock };
        for model in models {
            folder.add_model(layout, model)?;
        }
        Ok(folder)
    }

    /// The models that this copy serves: its own, so that one can be replaced while it runs.
    pub(super) fn repository(&self) -> PathBuf {
        self.path.join("repository")
    }

    /// Generates a secret and returns it with its file.
    ///
    /// # Errors
    /// The kernel gives no random bytes, or the file can't be written.
    pub(super) fn secret(&self, name: &str) -> Result<(PathBuf, String)> {
        let mut random = [0; SECRET_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut random).context("/dev/urandom")?;
        let secret = random.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        Ok((self.private(name, &secret)?, secret))
    }

    /// Writes a file that only its owner can read.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn private(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    fn add_model(&self, layout: &Layout, model: &str) -> Result<()> {
        let places = [layout.repository(), layout.dir.join("test-repository")];
        let found =
            places.iter().map(|place| place.join(model)).find(|place| place.join("1/model.onnx").is_file());
        let found = found.with_context(|| {
            WrongSetting(format!("--models: there is no {model}; there are: {}", names(&places)))
        })?;
        let to = self.repository().join(model);
        fs::create_dir_all(to.join("1"))?;
        for file in ["config.pbtxt", "1/model.onnx"] {
            fs::copy(found.join(file), to.join(file))
                .with_context(|| format!("{}/{file}", found.display()))?;
        }
        Ok(())
    }
}

fn names(places: &[impl AsRef<Path>]) -> String {
    let folders = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let mut names: Vec<String> =
        folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(", ")
}
