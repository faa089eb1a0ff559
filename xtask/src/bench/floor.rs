//! Floors: the least that a filter in Wasm can do for a hit or a miss. What a row costs above its floor is ours; what the floor costs
//! above the base is the price of being a filter in Wasm. Modules leave, written into the folder that Envoy reads them from.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::bodies::Body;

/// A module that does the least, for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floor {
    /// A hit: it answers as that request is answered, from the headers alone.
    Answers(Body),
    /// A miss: it holds the request until its body is there.
    Passes,
    /// A miss with a callout: the same, and until the gate has answered.
    Asks,
}

impl Floor {
    /// Where its module is.
    pub(super) fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("floor-{self:?}.wasm"))
    }

    /// Writes its module.
    ///
    /// # Errors
    /// An answer is not there, or nothing can be written.
    pub(super) fn write(self, folder: &Path) -> Result<()> {
        let text = match self {
            Self::Answers(body) => {
                let answer = fs::read(folder.join(body.answer_file()))?;
                let mut escaped = String::with_capacity(answer.len() * 3);
                for byte in &answer {
                    write!(escaped, "\\{byte:02x}")?;
                }
                let text = include_str!("floor/answers.wat").replace("\"ANSWER\"", &format!("\"{escaped}\""));
                text.replace("(i32.const BYTES)", &format!("(i32.const {})", answer.len()))
            }
            Self::Passes => include_str!("floor/passes.wat").to_owned(),
            Self::Asks => include_str!("floor/asks.wat").to_owned(),
        };
        let module = wat::parse_str(text).with_context(|| format!("{self:?} is no module"))?;
        Ok(fs::write(self.file(folder), module)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_modules_that_a_proxy_takes_for_filters() {
        let folder = tempfile::tempdir().unwrap();
        let body = Body::Json1k;
        fs::write(folder.path().join(body.answer_file()), b"{\"outputs\":[]}").unwrap();
        for floor in [Floor::Answers(body), Floor::Passes, Floor::Asks] {
            floor.write(folder.path()).unwrap();
            let module = fs::read(floor.file(folder.path())).unwrap();
            crate::wasm::check(&module).unwrap();
        }
        let answers = fs::read(Floor::Answers(body).file(folder.path())).unwrap();
        assert!(answers.windows(14).any(|bytes| bytes == b"{\"outputs\":[]}"));
    }
}
