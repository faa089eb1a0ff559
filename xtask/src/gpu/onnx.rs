//! ONNX's node tests: a test's folder enters; its inputs, by name, leave.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use prost::Message as _;
use rig::onnx::{Model, Tensor as Proto};

use super::tensors::{Datatype, Tensor};

/// The inputs of the test's first data set.
///
/// # Errors
/// A file can't be read, or an input is of a type that plans or V2 don't have.
pub(super) fn inputs(test: &Path) -> Result<Vec<Tensor>> {
    let model = Model::decode(&*std::fs::read(test.join("model.onnx"))?)?;
    let names = model.graph.context("a model without a graph")?.input;
    let data = test.join("test_data_set_0");
    let inputs = names.into_iter().enumerate().map(|(number, value)| {
        let bytes = std::fs::read(data.join(format!("input_{number}.pb")))?;
        tensor(value.name, &Proto::decode(&*bytes)?)
    });
    inputs.collect()
}

fn tensor(name: String, proto: &Proto) -> Result<Tensor> {
    let datatype = match proto.data_type {
        1 => Datatype::Fp32,
        2 => Datatype::Uint8,
        3 => Datatype::Int8,
        6 => Datatype::Int32,
        7 => Datatype::Int64,
        9 => Datatype::Bool,
        10 => Datatype::Fp16,
        16 => Datatype::Bf16,
        other => bail!("an input of ONNX's type {other}, which plans don't take"),
    };
    let data: Vec<u8> = if !proto.raw_data.is_empty() {
        proto.raw_data.clone()
    } else if datatype == Datatype::Fp32 {
        proto.float_data.iter().flat_map(|value| value.to_le_bytes()).collect()
    } else if datatype == Datatype::Int64 {
        proto.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect()
    } else {
        // Each element's own bytes, in 32 bits.
        let elements = proto.int32_data.iter().map(|value| value.to_le_bytes());
        elements.flat_map(|bytes| bytes.into_iter().take(datatype.size())).collect()
    };
    // An input that is a sequence, say, is another message: its numbers mean nothing.
    let expected = proto
        .dims
        .iter()
        .try_fold(datatype.size(), |bytes, dim| bytes.checked_mul(usize::try_from(*dim).ok()?));
    ensure!(Some(data.len()) == expected, "{name} has {} bytes, which {:?} is not", data.len(), proto.dims);
    Ok(Tensor { name, datatype, shape: proto.dims.clone(), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_from_either_field() {
        let raw = Proto { dims: vec![1], data_type: 10, raw_data: vec![0, 0x3c], ..Proto::default() };
        let typed = Proto { raw_data: Vec::new(), int32_data: vec![0x3c00], ..raw.clone() };
        let [raw, typed] = [raw, typed].map(|proto| tensor("x".into(), &proto).unwrap());
        assert_eq!(raw, typed);
        assert_eq!(raw.data, [0, 0x3c]);
        let short = Proto { dims: vec![2], data_type: 1, raw_data: vec![0; 4], ..Proto::default() };
        assert!(tensor("x".into(), &short).unwrap_err().to_string().contains("4 bytes"));
        let absurd = Proto { dims: vec![i64::MAX, 4], data_type: 1, ..Proto::default() };
        assert!(tensor("x".into(), &absurd).is_err());
    }
}
