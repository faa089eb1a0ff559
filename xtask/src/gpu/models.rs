//! The test models and the real ones: what each is asked, and for which shapes its plan is built.

use std::path::PathBuf;

use super::kit::Kit;
use super::task::Range;
use super::tensors::{Datatype, Tensor};

/// A model, and what it is asked.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) model: PathBuf,
    /// What its plan is built for.
    pub(super) ranges: Vec<Range>,
    pub(super) requests: Vec<Vec<Tensor>>,
}

/// An input: its name and type; if its shape is free, the smallest, best and largest that the plan is built for; the shapes that
/// are asked.
struct Input {
    name: &'static str,
    datatype: Datatype,
    free: Option<[&'static [i64]; 3]>,
    asked: &'static [&'static [i64]],
}

/// Two free dimensions.
const MATRIX: Option<[&[i64]; 3]> = Some([&[1, 1], &[8, 16], &[64, 64]]);
const MATRICES: &[&[i64]] = &[&[1, 1], &[3, 5], &[64, 64]];

const fn input(name: &'static str, datatype: Datatype) -> Input {
    Input { name, datatype, free: MATRIX, asked: MATRICES }
}

const fn x(datatype: Datatype) -> [Input; 1] {
    [input("x", datatype)]
}

/// By name, as they lie in the kit.
const MODELS: [(&str, &[Input]); 15] = [
    ("add_fp32", &[input("a", Datatype::Fp32), input("b", Datatype::Fp32)]),
    ("identity_bool", &x(Datatype::Bool)),
    ("identity_uint8", &x(Datatype::Uint8)),
    ("identity_int8", &x(Datatype::Int8)),
    ("identity_int32", &x(Datatype::Int32)),
    ("identity_int64", &x(Datatype::Int64)),
    ("identity_fp16", &x(Datatype::Fp16)),
    ("identity_bf16", &x(Datatype::Bf16)),
    ("identity_fp32", &x(Datatype::Fp32)),
    ("scalar_fp32", &[Input { name: "x", datatype: Datatype::Fp32, free: None, asked: &[&[1]] }]),
    ("two_outputs", &x(Datatype::Fp32)),
    ("slow", &x(Datatype::Fp32)),
    (
        "vad",
        &[
            Input { name: "input", datatype: Datatype::Fp32, free: None, asked: &[&[1, 576]] },
            Input { name: "state", datatype: Datatype::Fp32, free: None, asked: &[&[2, 1, 128]] },
        ],
    ),
    (
        "magika",
        &[Input {
            name: "bytes",
            datatype: Datatype::Int32,
            free: Some([&[1, 2048], &[8, 2048], &[32, 2048]]),
            asked: &[&[1, 2048], &[5, 2048], &[32, 2048]],
        }],
    ),
    (
        "ocrdet",
        &[Input {
            name: "x",
            datatype: Datatype::Fp32,
            free: Some([&[1, 3, 64, 64], &[1, 3, 320, 320], &[4, 3, 640, 640]]),
            asked: &[&[1, 3, 64, 64], &[2, 3, 320, 320]],
        }],
    ),
];

pub(super) fn cases(kit: &Kit) -> Vec<Case> {
    let there = MODELS.iter().filter(|(name, _)| kit.path(format!("models/{name}.onnx")).is_file());
    let cases = there.map(|(name, inputs)| {
        let ranges = inputs.iter().filter_map(|input| {
            let [min, opt, max] = input.free?.map(<[i64]>::to_vec);
            Some(Range { input: input.name.to_owned(), min, opt, max })
        });
        let requests = inputs[0].asked.iter().enumerate().map(|(number, _)| {
            inputs.iter().map(|input| tensor(input.name, input.datatype, input.asked[number])).collect()
        });
        Case {
            name: (*name).to_owned(),
            model: kit.path(format!("models/{name}.onnx")),
            ranges: ranges.collect(),
            requests: requests.collect(),
        }
    });
    cases.collect()
}

/// A tensor of values that repeat after a while, the same at every run: floats from -1 to 1, integers from 0 to 127.
pub(super) fn tensor(name: &str, datatype: Datatype, shape: &[i64]) -> Tensor {
    let elements = usize::try_from(shape.iter().product::<i64>()).unwrap_or(0);
    let mut seed = 1_u32;
    let mut data = Vec::with_capacity(elements * datatype.size());
    for _ in 0..elements {
        // The constants of Numerical Recipes; its high bits are the better ones.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let bits = seed >> 16;
        let [low, high, ..] = bits.to_le_bytes();
        let small = low & 0x7f;
        match datatype {
            Datatype::Bool => data.push(low & 1),
            Datatype::Uint8 | Datatype::Int8 => data.push(small),
            Datatype::Int32 => data.extend(i32::from(small).to_le_bytes()),
            Datatype::Int64 => data.extend(i64::from(small).to_le_bytes()),
            // A sign, an exponent for 1/2 to 1, and any fraction.
            Datatype::Fp16 => data.extend([low, high & 0x83 | 0x38]),
            Datatype::Bf16 => data.extend([low & 0x7f, high & 0x80 | 0x3f]),
            Datatype::Fp32 => data.extend(((bits as f32) / 32_768.0 - 1.0).to_le_bytes()),
        }
    }
    Tensor { name: name.to_owned(), datatype, shape: shape.to_vec(), data }
}
