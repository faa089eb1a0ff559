//! How a variant is made of what it is made of, as the tools read it.

use serde::{Deserialize, Serialize};

/// A way to make a model lighter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Recipe {
    /// Only what the exact rewrites did.
    Exact,
    /// INT8 by ranges of activations that were seen before: Q/DQ, U8S8.
    Static(Integers),
    /// INT8 by ranges of activations as they come.
    Dynamic(Integers),
    /// Both, by kind of operator.
    Hybrid { r#static: Integers, dynamic: Integers },
    /// Weights of that many bits, computed as FP32.
    Weights { bits: u8, keep: Vec<String> },
    /// All in 16 bits but inputs and outputs: for TensorRT, which takes a file's types at their word.
    Half { r#type: Half, keep: Vec<String> },
    /// Weights stored with 16 bits, computed as FP32.
    Storage { r#type: Half, keep: Vec<String> },
    /// That many trees of an ensemble.
    Trees { count: u64 },
    /// That share of the hidden features of each feed-forward part.
    Width { share: f64 },
    /// So many heads of each attention fewer.
    Heads { drop: u64 },
}

/// What becomes INT8.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Integers {
    /// Kinds of operators.
    pub(crate) ops: Vec<String>,
    /// Nodes that stay FP32.
    pub(crate) keep: Vec<String>,
    /// A scale for each output channel of a weight, not one for all.
    pub(crate) per_channel: bool,
    /// Weights of 7 bits: without VNNI, sums of products of 8 saturate.
    pub(crate) reduce_range: bool,
    /// What computes it: Q/DQ of zero points other than zero, as processors are fastest with, are not taken by TensorRT.
    #[serde(rename = "for", default, skip_serializing_if = "Target::is_cpu")]
    pub(crate) target: Target,
}

/// What computes a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    #[default]
    Cpu,
    Tensorrt,
}

impl Target {
    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }
}

/// A 16-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Half {
    Fp16,
    Bf16,
}

impl Recipe {
    /// The same, with those nodes left FP32 (of a hybrid, in its static part).
    pub(crate) fn keeping(&self, nodes: &[String]) -> Self {
        let mut recipe = self.clone();
        if let Some(integers) = recipe.integers_mut() {
            integers.keep = nodes.to_vec();
        }
        recipe
    }

    /// What of it becomes INT8, if anything does.
    pub(crate) fn integers(&self) -> Option<&Integers> {
        match self {
            Self::Static(integers) | Self::Dynamic(integers) | Self::Hybrid { r#static: integers, .. } => {
                Some(integers)
            }
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn integers_mut(&mut self) -> Option<&mut Integers> {
        match self {
            Self::Static(integers) | Self::Dynamic(integers) | Self::Hybrid { r#static: integers, .. } => {
                Some(integers)
            }
            _ => None,
        }
    }

    /// Whether structure goes, which tools do by samples.
    pub(crate) fn prunes(&self) -> bool {
        matches!(self, Self::Trees { .. } | Self::Width { .. } | Self::Heads { .. })
    }
}

impl std::fmt::Display for Integers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.ops.join("+"))?;
        f.write_str(if self.per_channel { ", per channel" } else { ", per tensor" })?;
        if self.reduce_range {
            f.write_str(", 7 bits")?;
        }
        match self.keep.len() {
            0 => Ok(()),
            1 => f.write_str(", one node FP32"),
            kept => write!(f, ", {kept} nodes FP32"),
        }
    }
}

impl std::fmt::Display for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact => f.write_str("exact rewrites"),
            Self::Static(integers) => write!(f, "static INT8 of {integers}"),
            Self::Dynamic(integers) => write!(f, "dynamic INT8 of {integers}"),
            Self::Hybrid { r#static, dynamic } => {
                write!(f, "static INT8 of {static} and dynamic of {dynamic}")
            }
            Self::Weights { bits, .. } => write!(f, "INT{bits} weights"),
            Self::Half { r#type: Half::Fp16, .. } => f.write_str("FP16"),
            Self::Half { r#type: Half::Bf16, .. } => f.write_str("BF16"),
            Self::Storage { r#type: Half::Fp16, .. } => f.write_str("FP16 storage"),
            Self::Storage { r#type: Half::Bf16, .. } => f.write_str("BF16 storage"),
            Self::Trees { count } => write!(f, "{count} trees"),
            Self::Width { share } => write!(f, "{:.0} % of the feed-forward width", share * 100.0),
            Self::Heads { drop: 1 } => f.write_str("one head fewer"),
            Self::Heads { drop } => write!(f, "{drop} heads fewer"),
        }
    }
}
