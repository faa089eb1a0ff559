//! Entries of ONNX Runtime's session that a version may ask for. Names and values enter, as `variant.json` has them; what may change
//! how weights and quantized parts are computed leaves, anything else is refused: entries name files, threads and allocators too,
//! which are the server's. Next: `ort` sets them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Entries that may be asked for (`onnxruntime_session_options_config_keys.h`), and up to which number; all of them begin at 0.
const ALLOWED: [(&str, u32); 14] = [
    ("session.disable_quant_qdq", 1),
    ("session.enable_quant_qdq_cleanup", 1),
    ("session.disable_double_qdq_remover", 1),
    ("session.disable_qdq_constant_folding", 1),
    ("session.enable_dq_matmulnbits_fusion", 1),
    ("session.qdq_matmulnbits_accuracy_level", 4),
    ("session.qdq_matmulnbits_block_size", 256),
    ("session.qdqisint8allowed", 1),
    ("session.x64quantprecision", 1),
    ("session.set_denormal_as_zero", 1),
    ("optimization.enable_gelu_approximation", 1),
    ("optimization.enable_cast_chain_elimination", 1),
    ("mlas.enable_gemm_fastmath_arm64_bfloat16", 1),
    ("mlas.qnbit.force_fp32", 1),
];

/// Entries that may be set, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub(crate) struct Entries(BTreeMap<String, String>);

/// An entry that may not.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum WrongEntry {
    #[error("session entry {name:?} may not be set by a model; these may: {}", names())]
    Unknown { name: String },
    #[error("session entry {name:?} is {value:?}, must be a whole number from 0 to {most}")]
    Value { name: String, value: String, most: u32 },
}

fn names() -> String {
    ALLOWED.map(|(name, _)| name).join(", ")
}

impl TryFrom<BTreeMap<String, String>> for Entries {
    type Error = WrongEntry;

    fn try_from(said: BTreeMap<String, String>) -> Result<Self, WrongEntry> {
        for (name, value) in &said {
            let known = ALLOWED.iter().find(|(known, _)| known == name);
            let (_, most) = known.ok_or_else(|| WrongEntry::Unknown { name: name.clone() })?;
            let number = value.parse::<u32>().ok().filter(|number| number <= most);
            if number.is_none_or(|number| number.to_string() != *value) {
                return Err(WrongEntry::Value { name: name.clone(), value: value.clone(), most: *most });
            }
        }
        Ok(Self(said))
    }
}

impl Entries {
    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(name: &str, value: &str) -> Result<Entries, WrongEntry> {
        BTreeMap::from([(name.to_owned(), value.to_owned())]).try_into()
    }

    #[test]
    fn what_changes_quantized_parts_may_be_asked_for_and_nothing_else() {
        let allowed = entries("session.disable_quant_qdq", "1").unwrap();
        assert_eq!(allowed.iter().collect::<Vec<_>>(), [("session.disable_quant_qdq", "1")]);
        for other in ["session.optimized_model_filepath", "session.intra_op_num_threads", "", "x"] {
            let error = entries(other, "1").unwrap_err().to_string();
            assert!(
                error.contains("may not be set") && error.contains("session.disable_quant_qdq"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_value_out_of_range_or_in_another_spelling_is_refused() {
        for value in ["2", "-1", "true", "", "01", "+1", "1 "] {
            let error = entries("session.disable_quant_qdq", value).unwrap_err();
            assert!(matches!(error, WrongEntry::Value { most: 1, .. }), "{value}");
        }
        assert!(entries("session.qdq_matmulnbits_accuracy_level", "4").is_ok());
    }
}
