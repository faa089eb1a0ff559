//! The file of operators' tokens: who may purge, and look at what is kept. Proxies' credentials don't say that. Read again when it
//! changes; several are valid at once, so that they rotate without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use forebay_protocol::header::X_FOREBAY_TOKEN;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::Watched;
use super::credentials::MIN_TOKEN_BYTES;

/// Why a file of operators' tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorsError {
    #[error("can't read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "line {line} has {bytes} bytes: each is a token of at least {MIN_TOKEN_BYTES} bytes of visible ASCII"
    )]
    Token { line: usize, bytes: usize },
    #[error("has no token: one a line is expected")]
    None,
}

/// The tokens as the file has them now.
pub(crate) struct Operators {
    path: PathBuf,
    file: Watched,
    /// Hashes compare in constant time.
    current: ArcSwap<Vec<blake3::Hash>>,
}

impl Operators {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read or used.
    pub(crate) fn read(path: &Path) -> Result<Self, OperatorsError> {
        let path = path.to_owned();
        let file = Watched::new([&path]);
        Ok(Self { current: ArcSwap::from_pointee(tokens(&path)?), file, path })
    }

    /// Is a token of theirs shown, and no other?
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(X_FOREBAY_TOKEN).iter().map(|token| blake3::hash(token.as_bytes()));
        let token = shown.next().filter(|_| shown.next().is_none());
        token.is_some_and(|token| self.current.load().contains(&token))
    }

    /// Follows the file until `stop`. What can't be used leaves what there was.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut file = self.file.clone();
        while stop.run_until_cancelled(file.changed()).await.is_some() {
            match tokens(&self.path) {
                Ok(tokens) => {
                    tracing::info!(tokens = tokens.len(), "the file of operators' tokens was read again");
                    self.current.store(Arc::new(tokens));
                }
                Err(error) => tracing::error!("the file of operators' tokens can't be used: {error}"),
            }
        }
    }
}

fn tokens(path: &Path) -> Result<Vec<blake3::Hash>, OperatorsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| OperatorsError::Unreadable { path: path.to_owned(), source })?;
    let lines = text.lines().map(str::trim_end).enumerate().filter(|(_, line)| !line.is_empty());
    let token = |(at, line): (usize, &str)| {
        let is_one = line.len() >= MIN_TOKEN_BYTES && line.bytes().all(|byte| byte.is_ascii_graphic());
        let wrong = OperatorsError::Token { line: at + 1, bytes: line.len() };
        is_one.then(|| blake3::hash(line.as_bytes())).ok_or(wrong)
    };
    let tokens: Vec<_> = lines.map(token).collect::<Result<_, _>>()?;
    if tokens.is_empty() { Err(OperatorsError::None) } else { Ok(tokens) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Operators, OperatorsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Operators::read(file.path())
    }

    #[test]
    fn a_token_of_the_file_admits_and_nothing_else_does() {
        let operators = read("the-token-of-today\n\nthe-token-of-tomorrow\n").unwrap();
        let shows = |tokens: &[&str]| {
            let pairs = tokens.iter().map(|token| (X_FOREBAY_TOKEN.parse().unwrap(), token.parse().unwrap()));
            operators.admit(&pairs.collect::<HeaderMap>())
        };
        assert!(shows(&["the-token-of-today"]) && shows(&["the-token-of-tomorrow"]));
        assert!(!shows(&[]) && !shows(&[""]) && !shows(&["the-token-of-yesterday"]));
        let mut both = HeaderMap::new();
        both.append(X_FOREBAY_TOKEN, "the-token-of-today".parse().unwrap());
        both.append(X_FOREBAY_TOKEN, "anything".parse().unwrap());
        assert!(!operators.admit(&both));
    }

    #[test]
    fn what_is_wrong_is_said_by_its_line_and_never_with_the_token() {
        for (text, said) in
            [("", "no token"), ("\n", "no token"), ("long-enough-token\nhush", "line 2 has 4 bytes")]
        {
            let error = read(text).err().unwrap().to_string();
            assert!(error.contains(said) && !error.contains("hush"), "{error}");
        }
        assert!(Operators::read(Path::new("/no/such/file")).is_err());
    }
}
