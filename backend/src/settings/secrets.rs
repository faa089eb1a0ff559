//! Files with secrets -> their content. A trailing newline is not part of a secret.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use forebay_protocol::entry::Secret;

use super::{PoolSettings, SettingsError, wrong};

/// Where the pool's secret may be given instead of a file.
const POOL_SECRET: &str = "FOREBAY_POOL_SECRET";
/// Variables that hold secrets, or may: none of them is for other processes.
pub(crate) const SECRETS: [&str; 5] = [
    POOL_SECRET,
    "FOREBAY_REDIS_URL",
    "FOREBAY_MEMCACHED_URL",
    "FOREBAY_HTTP_RESTRICTED_API",
    "FOREBAY_GRPC_RESTRICTED_PROTOCOL",
];

/// The secret that authenticates entries in a remote pool.
///
/// # Errors
/// When there is none, it can't be read, or it is shorter than 16 bytes.
pub(crate) fn read_pool_secret(settings: &PoolSettings) -> Result<Secret, SettingsError> {
    let flag = "--pool-secret-file";
    let bytes = match &settings.pool_secret_file {
        Some(path) => read(flag, path)?,
        None => match std::env::var(POOL_SECRET) {
            Ok(secret) if !secret.is_empty() => secret.into_bytes(),
            _ => {
                return Err(wrong(
                    flag,
                    format!("is missing: a pool that is shared needs it, or {POOL_SECRET}"),
                ));
            }
        },
    };
    Secret::from_bytes(&bytes).map_err(|error| wrong(flag, error.to_string()))
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, SettingsError> {
    let bytes = std::fs::read(path).map_err(|source| SettingsError::Unreadable {
        flag,
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes.trim_ascii_end().to_vec())
}

/// A file that holds a password. It is read whenever one is needed, so that another password needs no restart.
#[derive(Clone)]
pub(crate) struct PasswordFile {
    flag: &'static str,
    path: PathBuf,
}

impl PasswordFile {
    pub(super) fn new(flag: &'static str, path: PathBuf) -> Self {
        Self { flag, path }
    }

    /// The password that it holds now, without the end of its line.
    ///
    /// # Errors
    /// When it can't be read, or holds none.
    pub(crate) async fn read(&self) -> Result<String, SettingsError> {
        let Self { flag, path } = self;
        let bytes = tokio::fs::read(path).await.map_err(|source| SettingsError::Unreadable {
            flag,
            path: path.clone(),
            source,
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong(flag, format!("{}: a password is text in UTF-8", path.display())))?;
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(wrong(flag, format!("{} holds no password", path.display())));
        }
        Ok(password.to_owned())
    }
}

/// A password, or where it stands.
#[derive(Clone)]
pub(crate) enum Password {
    Known(String),
    File(PasswordFile),
}

impl Password {
    /// What it is now.
    ///
    /// # Errors
    /// When its file can't be read, or holds none.
    pub(crate) async fn read(&self) -> Result<String, SettingsError> {
        match self {
            Self::Known(password) => Ok(password.clone()),
            Self::File(file) => file.read().await,
        }
    }
}

/// A setting that holds a secret: whatever is wrong with it is found later, so that nothing shows it.
#[derive(Clone)]
pub(crate) struct Hidden(pub(crate) String);

impl FromStr for Hidden {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
