//! A model's operators -> what may make it lighter, the likeliest first.

use std::collections::BTreeMap;
use std::fmt;

use crate::engine::cpu::Integers as Sums;
use crate::optimize::tools::Inspected;
use crate::optimize::tools::recipe::{Half, Integers, Recipe, Target};

/// Kinds whose static INT8 pays: ONNX Runtime has fast kernels for them.
pub(crate) const STATIC: [&str; 3] = ["Conv", "Gemm", "MatMul"];
/// Kinds whose dynamic INT8 pays; convolutions are not among them (.1 to .2 of the speed, measured).
const DYNAMIC: [&str; 3] = ["Gemm", "LSTM", "MatMul"];
/// A kind with a smaller share of the time, and of the weights, is not worth what it loses.
const PAYS: f64 = 0.02;
/// Looks rows of a table up: no faster with 8 bits, so it is worth it only where the table is a large share of the weights.
const LOOKUP: &str = "Gather";
const LARGE: f64 = 0.1;

/// Ranges from the least to the most value that was seen.
pub(crate) const LEAST_AND_MOST: &str = "minmax";

/// A recipe, and how its ranges are found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) recipe: Recipe,
    pub(super) method: Option<&'static str>,
}

impl Plan {
    pub(super) fn of(recipe: Recipe) -> Self {
        Self { recipe, method: None }
    }

    /// Whether it cuts ranges, which costs time and is for those that lose too much otherwise.
    pub(super) fn is_of_other_ranges(&self) -> bool {
        self.method.is_some_and(|method| method != LEAST_AND_MOST)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.recipe)?;
        self.method.map_or(Ok(()), |method| write!(f, ", ranges by {method}"))
    }
}

/// All plans for a model; `shares` are its kinds' parts of the time, nothing where they are not known.
pub(super) fn of(model: &Inspected, shares: &BTreeMap<String, f64>) -> Vec<Plan> {
    if let Some(trees) = &model.trees {
        let parts = [2, 3, 5, 8].map(|part| trees.count / part);
        return parts
            .into_iter()
            .filter(|count| *count > 0)
            .map(|count| Plan::of(Recipe::Trees { count }))
            .collect();
    }
    let takes_time = |kind: &str| shares.is_empty() || shares.get(kind).is_some_and(|share| *share >= PAYS);
    let has_weights = |kind: &str, share: f64| {
        let of_kind = model.nodes.iter().filter(|node| node.op == kind).map(|node| node.weights_bytes);
        of_kind.sum::<u64>() as f64 >= share * model.weights_bytes as f64
    };
    let there = |kinds: &[&str]| -> Vec<String> {
        let pays =
            |kind: &&&str| model.ops.contains_key(**kind) && (takes_time(kind) || has_weights(kind, PAYS));
        kinds.iter().filter(pays).map(|kind| (*kind).to_owned()).collect()
    };
    let (fixed, moving) = (there(&STATIC), there(&DYNAMIC));
    let (mut plans, mut last) = (Vec::new(), Vec::new());
    let ranged = |recipe: Recipe, method| Plan { recipe, method: Some(method) };
    let convolves = fixed.iter().any(|kind| kind == "Conv");
    if !fixed.is_empty() {
        plans.push(ranged(Recipe::Static(integers(&fixed, true)), LEAST_AND_MOST));
    }
    if convolves && !moving.is_empty() {
        let convolutions = integers(&["Conv".to_owned()], true);
        let recipe = Recipe::Hybrid { r#static: convolutions, dynamic: integers(&moving, true) };
        plans.push(ranged(recipe, LEAST_AND_MOST));
    }
    if !moving.is_empty() {
        let mut as_they_come = Vec::new();
        if has_weights(LOOKUP, LARGE) {
            let with_tables = [&moving[..], &[LOOKUP.to_owned()]].concat();
            as_they_come.push(Plan::of(Recipe::Dynamic(integers(&with_tables, true))));
        }
        as_they_come.push(Plan::of(Recipe::Dynamic(integers(&moving, true))));
        let whole = Plan::of(Recipe::Dynamic(integers(&moving, false)));
        // What only multiplies, such as transformers, loses most by ranges that were seen before (measured: recall .08 of .61), and where
        // it is small, a scale for each channel costs more than INT8 brings (measured: .96x, 1.46x with one scale).
        if convolves {
            plans.append(&mut as_they_come);
            last.push(whole);
        } else {
            plans.splice(..0, as_they_come.into_iter().chain([whole]));
        }
    }
    plans.push(Plan::of(Recipe::Storage { r#type: Half::Fp16, keep: Vec::new() }));
    // To find such ranges takes longest.
    if !fixed.is_empty() {
        plans.push(ranged(Recipe::Static(integers(&fixed, true)), "percentile"));
        plans.push(ranged(Recipe::Static(integers(&fixed, true)), "entropy"));
    }
    plans.append(&mut last);
    plans.push(Plan::of(Recipe::Storage { r#type: Half::Bf16, keep: Vec::new() }));
    plans.push(Plan::of(Recipe::Weights { bits: 8, keep: Vec::new() }));
    plans.push(Plan::of(Recipe::Weights { bits: 4, keep: Vec::new() }));
    if !model.ffn.is_empty() {
        plans.push(Plan::of(Recipe::Width { share: 0.75 }));
    }
    if !model.heads.is_empty() {
        plans.push(Plan::of(Recipe::Heads { drop: 2 }));
    }
    plans
}

fn integers(ops: &[String], per_channel: bool) -> Integers {
    Integers { ops: ops.to_vec(), keep: Vec::new(), per_channel, reduce_range: false, target: Target::Cpu }
}

/// How many bits of a weight are used. Without VNNI, sums of products of 8 saturate, and those of 7 don't: which loses less is for the
/// model to show. It is measured on the first plan with ranges that were seen, and on the first with ranges as they come.
#[derive(Debug)]
pub(super) struct Bits {
    sums: Sums,
    /// Whether 7 lose less, where it is known.
    r#static: Option<bool>,
    dynamic: Option<bool>,
}

impl Bits {
    pub(super) fn new(sums: Sums) -> Self {
        Self { sums, r#static: None, dynamic: None }
    }

    /// The plan with 7 bits and with 8, where it must be seen which is better; else the one that is.
    pub(super) fn of(&self, plan: &Plan) -> Vec<Plan> {
        let with =
            |r#static, dynamic| Plan { recipe: reduced(&plan.recipe, r#static, dynamic), ..plan.clone() };
        match (&plan.recipe, self.sums) {
            (Recipe::Static(_), Sums::Saturating) if self.r#static.is_none() => {
                vec![with(true, true), with(false, false)]
            }
            (Recipe::Dynamic(_), Sums::Saturating) if self.dynamic.is_none() => {
                vec![with(true, true), with(false, false)]
            }
            (_, sums) => {
                let saturates = sums == Sums::Saturating;
                let known = |measured: Option<bool>| measured.unwrap_or(saturates);
                vec![with(known(self.r#static), known(self.dynamic))]
            }
        }
    }

    /// Keeps what the better of the two was.
    pub(super) fn note(&mut self, better: &Recipe) {
        match better {
            Recipe::Static(integers) => self.r#static = Some(integers.reduce_range),
            Recipe::Dynamic(integers) => self.dynamic = Some(integers.reduce_range),
            _ => {}
        }
    }
}

fn reduced(recipe: &Recipe, of_static: bool, of_dynamic: bool) -> Recipe {
    let with = |integers: &Integers, reduce_range| Integers { reduce_range, ..integers.clone() };
    match recipe {
        Recipe::Static(integers) => Recipe::Static(with(integers, of_static)),
        Recipe::Dynamic(integers) => Recipe::Dynamic(with(integers, of_dynamic)),
        Recipe::Hybrid { r#static, dynamic } => {
            Recipe::Hybrid { r#static: with(r#static, of_static), dynamic: with(dynamic, of_dynamic) }
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::tools::Node;

    /// What is planned for nodes of that many bytes of weights.
    fn plans(nodes: &[(&str, u64)]) -> Vec<String> {
        let node = |(op, bytes): &(&str, u64)| Node { op: (*op).to_owned(), weights_bytes: *bytes };
        let model = Inspected {
            ops: nodes.iter().map(|(op, _)| ((*op).to_owned(), 1)).collect(),
            weights_bytes: nodes.iter().map(|(_, bytes)| bytes).sum(),
            nodes: nodes.iter().map(node).collect(),
            trees: None,
            ffn: Vec::new(),
            heads: Vec::new(),
        };
        // What its processor adds is not told here.
        of(&model, &BTreeMap::new()).iter().map(|plan| plan.to_string().replace(", 7 bits", "")).collect()
    }

    fn place(plans: &[String], wanted: &str) -> usize {
        let found = plans.iter().position(|plan| plan == wanted);
        found.unwrap_or_else(|| panic!("{wanted} is not among {plans:?}"))
    }

    #[test]
    fn a_table_that_is_a_large_part_of_the_model_is_quantized_and_a_small_one_is_not() {
        let with_table = "dynamic INT8 of MatMul+Gather, per channel";
        let large = plans(&[("MatMul", 42_000_000), ("Gather", 47_000_000)]);
        // Without it too: what it loses may be all that is lost.
        assert!(place(&large, with_table) < place(&large, "dynamic INT8 of MatMul, per channel"));
        let small = plans(&[("MatMul", 2_900_000), ("Gather", 65_000)]);
        assert!(!small.contains(&with_table.to_owned()), "{small:?}");
    }

    #[test]
    fn without_convolutions_ranges_as_they_come_are_tried_first() {
        let (r#static, dynamic) = (
            "static INT8 of Conv+MatMul, per channel, ranges by minmax",
            "dynamic INT8 of MatMul, per channel",
        );
        let both = plans(&[("Conv", 500_000), ("MatMul", 500_000)]);
        assert!(place(&both, r#static) < place(&both, dynamic));
        let alone = plans(&[("MatMul", 500_000)]);
        let whole = "dynamic INT8 of MatMul, per tensor";
        assert_eq!((place(&alone, dynamic), place(&alone, whole)), (0, 1));
        assert!(place(&both, whole) > place(&both, "FP16 storage"));
    }

    #[test]
    fn what_takes_long_to_find_is_tried_after_what_does_not() {
        let plans = plans(&[("Conv", 600_000), ("LSTM", 500_000)]);
        let hybrid = place(
            &plans,
            "static INT8 of Conv, per channel and dynamic of LSTM, per channel, ranges by minmax",
        );
        for method in ["percentile", "entropy"] {
            let long = place(&plans, &format!("static INT8 of Conv, per channel, ranges by {method}"));
            assert!(hybrid < long && place(&plans, "FP16 storage") < long, "{plans:?}");
        }
    }

    fn seven(plan: &Plan) -> Option<bool> {
        plan.recipe.integers().map(|integers| integers.reduce_range)
    }

    fn conv() -> Integers {
        integers(&["Conv".to_owned()], true)
    }

    #[test]
    fn seven_bits_and_eight_are_both_tried_where_sums_saturate_until_it_is_known_which_lose_less() {
        let plan = Plan::of(Recipe::Static(conv()));
        let mut bits = Bits::new(Sums::Saturating);
        assert_eq!(bits.of(&plan).iter().map(seven).collect::<Vec<_>>(), [Some(true), Some(false)]);
        bits.note(&bits.of(&plan)[1].recipe);
        assert_eq!(bits.of(&plan).iter().map(seven).collect::<Vec<_>>(), [Some(false)]);
        // Ranges as they come are another thing.
        assert_eq!(bits.of(&Plan::of(Recipe::Dynamic(conv()))).len(), 2);
        let both = Plan::of(Recipe::Hybrid { r#static: conv(), dynamic: conv() });
        let [Plan { recipe: Recipe::Hybrid { r#static, dynamic }, .. }] = &bits.of(&both)[..] else {
            panic!("one plan for a hybrid")
        };
        assert!(!r#static.reduce_range && dynamic.reduce_range, "what is not known has 7 bits");
    }

    #[test]
    fn weights_have_eight_bits_where_sums_are_exact() {
        let bits = Bits::new(Sums::Exact);
        for recipe in [Recipe::Static(conv()), Recipe::Dynamic(conv()), Recipe::Trees { count: 1 }] {
            let plan = Plan::of(recipe);
            assert_eq!(bits.of(&plan), [plan]);
        }
    }
}
