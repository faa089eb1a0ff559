//! The file of credentials: who may speak for which service and tenants. Read again when it changes, so that tokens rotate
//! without a restart: several are valid at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use forebay_protocol::tenant::{Tenant, TenantError};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Watched;

/// Shortest token, in bytes: 128 bits in base64 are 22, in hex 32; less than 16 characters is a password.
pub(super) const MIN_TOKEN_BYTES: usize = 16;
/// In the file: any tenant.
const ANY: &str = "*";

/// Why a file of credentials can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("can't read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "is not the JSON expected, {{\"credentials\": [{{\"name\", \"token\" or \"san\", \"service\", \"tenants\"}}]}}: {0}"
    )]
    Shape(serde_json::Error),
    #[error("credential {name:?}: has either a token or a san")]
    Proof { name: String },
    #[error(
        "credential {name:?}: its token has {bytes} bytes, at least {MIN_TOKEN_BYTES} of visible ASCII are needed"
    )]
    Token { name: String, bytes: usize },
    #[error("credential {name:?}: {tenant:?}: {source}")]
    Tenant { name: String, tenant: String, source: TenantError },
}

/// Which tenants a credential may speak for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tenants {
    /// Any.
    Any,
    /// These.
    These(Vec<Tenant>),
}

/// Who may speak for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// What it is called in the file, for people.
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) tenants: Tenants,
    proof: Proof,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Proof {
    /// Hash of a token: hashes compare in constant time.
    Token(blake3::Hash),
    /// A subject alternative name of the caller's certificate.
    San(String),
}

impl Credential {
    /// The tenant that it speaks for, given the one that was named: that one where it may, its only one where none was.
    pub(crate) fn tenant(&self, named: Option<&Tenant>) -> Option<Tenant> {
        match (&self.tenants, named) {
            (Tenants::Any, named) => named.cloned(),
            (Tenants::These(tenants), Some(named)) => tenants.contains(named).then(|| named.clone()),
            (Tenants::These(tenants), None) => match tenants.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
        }
    }
}

/// The credentials as the file has them now.
pub(crate) struct Credentials {
    path: PathBuf,
    file: Watched,
    current: ArcSwap<Vec<Credential>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    credentials: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    token: Option<String>,
    san: Option<String>,
    service: String,
    #[serde(default)]
    tenants: Vec<String>,
}

impl Row {
    fn check(self) -> Result<Credential, CredentialsError> {
        let Self { name, token, san, service, tenants } = self;
        let proof = match (token, san) {
            (Some(token), None) => {
                if token.len() < MIN_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(CredentialsError::Token { name, bytes: token.len() });
                }
                Proof::Token(blake3::hash(token.as_bytes()))
            }
            (None, Some(san)) => Proof::San(san),
            _ => return Err(CredentialsError::Proof { name }),
        };
        if tenants.iter().any(|tenant| tenant == ANY) {
            return Ok(Credential { name, service, tenants: Tenants::Any, proof });
        }
        let parse = |tenant: &String| {
            Tenant::parse(tenant).map_err(|source| CredentialsError::Tenant {
                name: name.clone(),
                tenant: tenant.clone(),
                source,
            })
        };
        let tenants = Tenants::These(tenants.iter().map(parse).collect::<Result<_, _>>()?);
        Ok(Credential { name, service, tenants, proof })
    }
}

impl Credentials {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read or used.
    pub(crate) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let path = path.to_owned();
        let file = Watched::new([&path]);
        Ok(Self { current: ArcSwap::from_pointee(rows(&path)?), file, path })
    }

    /// Credentials from the file's text.
    #[cfg(test)]
    pub(crate) fn parse(json: &[u8]) -> Result<Self, CredentialsError> {
        let current = ArcSwap::from_pointee(parse(json)?);
        Ok(Self { path: PathBuf::new(), file: Watched::new([]), current })
    }

    /// Those that a caller with these tokens and names has.
    pub(super) fn of(&self, tokens: &[blake3::Hash], sans: &[String]) -> Vec<Credential> {
        let has = |credential: &&Credential| match &credential.proof {
            Proof::Token(token) => tokens.contains(token),
            Proof::San(san) => sans.contains(san),
        };
        self.current.load().iter().filter(has).cloned().collect()
    }

    /// Follows the file until `stop`.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut file = self.file.clone();
        while stop.run_until_cancelled(file.changed()).await.is_some() {
            self.read_again();
        }
    }

    /// What can't be used leaves what there was.
    fn read_again(&self) {
        match rows(&self.path) {
            Ok(rows) => {
                tracing::info!(
                    credentials = rows.len(),
                    "the file of credentials changed and was read again"
                );
                self.current.store(Arc::new(rows));
            }
            Err(error) => tracing::error!("the file of credentials changed and can't be used: {error}"),
        }
    }
}

fn rows(path: &Path) -> Result<Vec<Credential>, CredentialsError> {
    let json = std::fs::read(path)
        .map_err(|source| CredentialsError::Unreadable { path: path.to_owned(), source })?;
    parse(&json)
}

fn parse(json: &[u8]) -> Result<Vec<Credential>, CredentialsError> {
    let file: File = serde_json::from_slice(json).map_err(CredentialsError::Shape)?;
    file.credentials.into_iter().map(Row::check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(row: &str) -> String {
        match Credentials::parse(format!(r#"{{"credentials": [{row}]}}"#).as_bytes()) {
            Ok(_) => panic!("{row} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_credential_and_never_with_its_token() {
        for (row, said) in [
            (r#"{"name": "a", "service": "s"}"#, "either a token or a san"),
            (r#"{"name": "a", "service": "s", "token": "0123456789abcdef", "san": "x"}"#, "either"),
            (r#"{"name": "a", "service": "s", "token": "hush"}"#, "4 bytes"),
            (r#"{"name": "a", "service": "s", "san": "x", "tenants": ["a b"]}"#, "visible ASCII"),
            (r#"{"name": "a", "san": "x"}"#, "service"),
            (r#"{"name": "a", "service": "s", "san": "x", "tenant": "t"}"#, "unknown field"),
        ] {
            let refusal = refusal(row);
            assert!(refusal.contains(said) && !refusal.contains("hush"), "{row}: {refusal}");
        }
    }

    #[test]
    fn what_is_read_again_takes_the_place_of_what_there_was_and_what_is_broken_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        let write = |token: &str| {
            let row = format!(r#"{{"name": "a", "service": "s", "token": "{token}", "tenants": ["t"]}}"#);
            std::fs::write(&path, format!(r#"{{"credentials": [{row}]}}"#)).unwrap();
        };
        write("first-token-000000");
        let credentials = Credentials::read(&path).unwrap();
        let knows = |token: &str| !credentials.of(&[blake3::hash(token.as_bytes())], &[]).is_empty();
        assert!(knows("first-token-000000"));
        write("a-longer-second-token-000000");
        credentials.read_again();
        assert!(knows("a-longer-second-token-000000") && !knows("first-token-000000"));
        std::fs::write(&path, "{").unwrap();
        credentials.read_again();
        assert!(knows("a-longer-second-token-000000"));
    }
}
