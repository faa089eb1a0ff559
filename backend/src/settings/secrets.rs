//! Files with secrets -> their content. A trailing newline is not part of a secret.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
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

/// Bytes of a key.
const KEY: usize = 32;

/// A key of 32 bytes out of a file that holds them as they are, in hex or in base64.
///
/// # Errors
/// When it can't be read, or holds no such key.
pub(crate) fn read_key(flag: &'static str, path: &Path) -> Result<[u8; KEY], SettingsError> {
    let bytes = std::fs::read(path).map_err(|source| SettingsError::Unreadable {
        flag,
        path: path.to_owned(),
        source,
    })?;
    key(&bytes).map_err(|reason| wrong(flag, format!("{}: {reason}", path.display())))
}

fn key(bytes: &[u8]) -> Result<[u8; KEY], String> {
    // One that is its bytes may end with what looks like white space.
    let text = if bytes.len() == KEY { bytes } else { bytes.trim_ascii() };
    let is_hex = text.iter().all(u8::is_ascii_hexdigit);
    if text.len() == KEY && is_hex {
        return Err("16 bytes in hex: a key has 32; `openssl rand -hex 32` makes one".to_owned());
    }
    let decoded = match text.len() {
        KEY => Some(text.to_vec()),
        64 if is_hex => text.chunks(2).map(hex_byte).collect(),
        43 | 44 => STANDARD_NO_PAD.decode(text.strip_suffix(b"=").unwrap_or(text)).ok(),
        _ => None,
    };
    decoded.and_then(|key| key.try_into().ok()).ok_or_else(|| {
        format!(
            "{} bytes that are no key: 32 bytes are expected, as they are, in hex or in base64; `openssl rand -hex 32` makes one",
            text.len()
        )
    })
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_bytes_or_their_hex_or_base64() {
        let bytes: [u8; KEY] = std::array::from_fn(|at| u8::try_from(at * 8).unwrap());
        let hex = blake3::Hash::from_bytes(bytes).to_hex().to_string();
        let base64 = STANDARD_NO_PAD.encode(bytes);
        for file in
            [hex.clone(), format!("{hex}\n"), hex.to_uppercase(), base64.clone(), format!("{base64}=\r\n")]
        {
            assert_eq!(key(file.as_bytes()), Ok(bytes), "{file:?}");
        }
        assert_eq!(key(&bytes), Ok(bytes));
        assert_eq!(key(&[b'\n'; KEY]), Ok([b'\n'; KEY]), "bytes are not trimmed");
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        for file in ["", "secret", &"f".repeat(32), &"f".repeat(62), &"g".repeat(64), &"!".repeat(44)] {
            let refused = key(file.as_bytes()).unwrap_err();
            assert!(refused.contains("openssl rand -hex 32"), "{refused}");
            assert!(file.is_empty() || !refused.contains(file), "{refused}");
        }
    }
}
