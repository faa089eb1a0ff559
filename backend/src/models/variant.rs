//! `variant.json` in a version's folder: of which version it was made, how, what was lost by it, and on which processor that was
//! judged. Bytes enter, a checked [`Variant`] leaves. `forebay optimize` writes it; next: `load` holds it against this machine, and
//! the shadow compares what it computes with its original.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::cpu::Cpu;
use crate::engine::entries::Entries;
pub(crate) use crate::shadow::compare::Compare;

/// The file's name, in the folder of its version.
pub(crate) const FILE_NAME: &str = "variant.json";
/// Version of what is in it.
pub(crate) const FORMAT: u32 = 1;
/// A longer one is none: it names nodes, and has no tensors.
pub(crate) const MOST_BYTES: usize = 4 << 20;

/// A file that is no `variant.json` of this version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VariantError {
    #[error("{FILE_NAME} has {bytes} bytes, {MOST_BYTES} are the most")]
    Long { bytes: usize },
    #[error("{FILE_NAME} has format {found}: this program reads format {FORMAT}")]
    Format { found: u32 },
    /// It tells the line.
    #[error("{FILE_NAME}: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("{FILE_NAME} has session entries, which are ONNX Runtime's, and this version is run by TensorRT")]
    Entries,
    #[error("{FILE_NAME}: {field} is {found:?}, must be {expected}")]
    Value { field: &'static str, found: String, expected: &'static str },
}

/// What made a version of another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variant {
    pub(crate) format: u32,
    pub(crate) original: Original,
    /// As the tools take it.
    pub(crate) recipe: serde_json::Value,
    /// Passes that change nothing but the graph.
    pub(crate) rewrites: Vec<String>,
    /// `None`: none was there, so nothing is known of the loss.
    pub(crate) data: Option<Data>,
    /// Name -> version.
    pub(crate) tools: BTreeMap<String, String>,
    pub(crate) judged: Judged,
    /// What the session needs that runs it.
    pub(crate) session: Entries,
    pub(crate) loss: Option<Loss>,
    pub(crate) shadow: Shadow,
}

/// The version that was made lighter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Original {
    pub(crate) version: u64,
    /// Of its model's file.
    pub(crate) blake3: Digest,
}

/// What the variant was chosen and judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) blake3: Digest,
    pub(crate) items: u64,
}

/// Where it was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judged {
    pub(crate) onnxruntime: String,
    pub(crate) cpu: Cpu,
    /// Year-month-day.
    pub(crate) date: String,
}

/// The paired drop of the metric on the items kept for the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Loss {
    pub(crate) metric: String,
    /// Absolute ones.
    pub(crate) points: f64,
    /// One-sided, 95 %; `None` where none can be given.
    pub(crate) bound: Option<f64>,
    pub(crate) items: u64,
    pub(crate) disagreements: Option<u64>,
}

/// How a request's results are compared with the original's while it is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shadow {
    /// By output; others are not compared.
    pub(crate) outputs: BTreeMap<String, Compare>,
    /// The share of requests that may disagree.
    pub(crate) budget: f64,
}

/// A BLAKE3 digest in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Digest(String);

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no digest: 64 digits of lower-case hexadecimal are expected")]
pub(crate) struct WrongDigest(String);

impl TryFrom<String> for Digest {
    type Error = WrongDigest;

    fn try_from(text: String) -> Result<Self, WrongDigest> {
        let is_digit = |letter: u8| letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter);
        if text.len() == 2 * blake3::OUT_LEN && text.bytes().all(is_digit) {
            return Ok(Self(text));
        }
        Err(WrongDigest(text))
    }
}

impl Digest {
    /// Of those bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.to_hex().to_string())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A variant, and which one it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) is: Variant,
    /// Of its `variant.json`: one that is judged again is another one.
    pub(crate) digest: Digest,
}

impl Known {
    /// # Errors
    /// As [`Variant::read`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, VariantError> {
        Ok(Self { is: Variant::read(bytes)?, digest: Digest::of(bytes) })
    }
}

/// What is looked at first: a later format may have any other members.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Variant {
    /// Reads and checks one.
    ///
    /// # Errors
    /// `Long`, `Format`, `Shape` and `Value`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, VariantError> {
        if bytes.len() > MOST_BYTES {
            return Err(VariantError::Long { bytes: bytes.len() });
        }
        let Versioned { format } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(VariantError::Format { found: format });
        }
        let variant: Self = serde_json::from_slice(bytes)?;
        variant.check()?;
        Ok(variant)
    }

    /// As `forebay optimize` writes it.
    ///
    /// # Errors
    /// `Value`: what is wrong with it.
    pub(crate) fn write(&self) -> Result<Vec<u8>, VariantError> {
        self.check()?;
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn check(&self) -> Result<(), VariantError> {
        let wrong = |field, found: String, expected| Err(VariantError::Value { field, found, expected });
        if !(0.0..1.0).contains(&self.shadow.budget) {
            let found = self.shadow.budget.to_string();
            return wrong("shadow.budget", found, "a share from 0 up to, and without, 1");
        }
        for (output, compare) in &self.shadow.outputs {
            if let Compare::Tolerance { absolute, relative } = *compare {
                let is_wrong = |number: &f64| !number.is_finite() || *number < 0.0;
                if let Some(number) = [absolute, relative].iter().find(|number| is_wrong(number)) {
                    return wrong("shadow.outputs", format!("{output}: {number}"), "0 or more");
                }
            }
        }
        let numbers = self.loss.iter().flat_map(|loss| [Some(loss.points), loss.bound]).flatten();
        if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
            return wrong("loss", number.to_string(), "a number");
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As `forebay optimize` writes it.
    pub(crate) fn json() -> serde_json::Value {
        serde_json::json!({
            "format": 1,
            "original": {"version": 1, "blake3": Digest::of(b"model").to_string()},
            "recipe": {"kind": "dynamic", "ops": ["MatMul"], "keep": [], "per_channel": true},
            "rewrites": ["fold-batch-norm"],
            "data": {"blake3": Digest::of(b"data").to_string(), "items": 1180},
            "tools": {"onnxruntime": "1.31.1"},
            "judged": {"onnxruntime": "1.31.1", "cpu": ["avx2", "fma", "avx512_vnni"], "date": "2026-11-29"},
            "session": {"session.disable_quant_qdq": "1"},
            "loss": {"metric": "top1", "points": 0.34, "bound": 0.81, "items": 590, "disagreements": 5},
            "shadow": {
                "outputs": {
                    "label": {"compare": "top1"},
                    "boxes": {"compare": "tolerance", "absolute": 0.01, "relative": 0.02},
                },
                "budget": 0.01,
            },
        })
    }

    fn read(json: &serde_json::Value) -> Result<Variant, String> {
        Variant::read(json.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let variant = read(&json()).unwrap();
        assert_eq!(variant.shadow.outputs["label"], Compare::Top1 {});
        assert_eq!(Variant::read(&variant.write().unwrap()).unwrap(), variant);
        let mut unknown = json();
        for field in ["data", "loss"] {
            unknown[field] = serde_json::Value::Null;
        }
        assert_eq!(read(&unknown).unwrap().loss, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("/format", serde_json::json!(2), "format 2"),
            ("/original/blake3", serde_json::json!("12"), "no digest"),
            ("/judged/cpu/0", serde_json::json!("mmx"), "mmx"),
            ("/session", serde_json::json!({"session.log_id": "1"}), "may not be set"),
            ("/shadow/budget", serde_json::json!(1), "shadow.budget"),
            ("/shadow/outputs/boxes/absolute", serde_json::json!(-1), "boxes: -1"),
            ("/shadow/outputs/label/compare", serde_json::json!("top5"), "top5"),
            ("/original", serde_json::json!({"version": 1}), "blake3"),
        ];
        for (place, value, expected) in cases {
            let mut wrong = json();
            *wrong.pointer_mut(place).unwrap() = value;
            let error = read(&wrong).unwrap_err();
            assert!(error.starts_with(FILE_NAME) && error.contains(expected), "{place}: {error}");
        }
    }

    #[test]
    fn a_member_that_is_not_known_is_refused_wherever_it_stands() {
        for place in ["", "/original", "/data", "/judged", "/loss", "/shadow"] {
            let mut more = json();
            more.pointer_mut(place).unwrap()["more"] = 1.into();
            assert!(read(&more).unwrap_err().contains("unknown field `more`"), "{place}");
        }
        for output in ["label", "boxes"] {
            let mut more = json();
            more["shadow"]["outputs"][output]["more"] = 1.into();
            assert!(read(&more).is_err(), "{output}");
        }
    }

    #[test]
    fn junk_and_what_is_too_long_are_refused() {
        for junk in ["", "[]", "{}", "null", "{\"format\":1}", "\u{0}"] {
            assert!(Variant::read(junk.as_bytes()).is_err(), "{junk:?}");
        }
        let long = vec![b' '; MOST_BYTES + 1];
        assert!(matches!(Variant::read(&long), Err(VariantError::Long { .. })));
    }
}
