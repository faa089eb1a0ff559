use bytes::Bytes;
use forebay_protocol::datatype::DataType;

use super::*;
use crate::config::{self, ModelConfig};
use crate::engine::Parts;
use crate::engine::signature::TensorSpec;

/// Computes outputs of the shapes that it has, and remembers what it was asked.
struct Fake {
    signature: Signature,
    outputs: Vec<Vec<i64>>,
    asked: std::sync::mpsc::Sender<Asked>,
}

impl Session for Fake {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError> {
        let shapes = inputs.iter().map(|input| input.shape.to_vec()).collect();
        self.asked.send((shapes, outputs.to_vec())).unwrap();
        let output = |index: &usize| OutputTensor {
            index: *index,
            shape: self.outputs[*index].clone(),
            data: Bytes::new(),
        };
        Ok(Run { outputs: outputs.iter().map(output).collect(), gathering: std::time::Duration::ZERO })
    }
}

fn spec(name: &str, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype: DataType::Fp32, shape: shape.to_vec(), is_optional: false }
}

/// Shapes of inputs, and outputs.
type Asked = (Vec<Vec<i64>>, Vec<usize>);
/// Outputs and their shapes, or an error.
type Told = Result<Vec<(usize, Vec<i64>)>, String>;

/// What is asked of the session for an input `x` of that shape and all outputs, and what comes back.
fn run(config: &str, shape: &[i64], computed: [&[i64]; 2]) -> (Option<Asked>, Told) {
    let config: ModelConfig = config::parse(std::path::Path::new("c"), config.as_bytes(), "m").unwrap();
    let signature = Signature {
        inputs: vec![spec("x", &[-1, -1])],
        outputs: vec![spec("y", &[-1, -1]), spec("scalar", &[])],
    };
    let view = Arc::new(View::of(&signature, &config).unwrap());
    let (asked, told) = std::sync::mpsc::channel();
    let outputs = computed.map(<[i64]>::to_vec).to_vec();
    let mut session = fitted(Box::new(Fake { signature, outputs, asked }), &view);
    let input = InputTensor { name: "x", datatype: DataType::Fp32, shape, data: Parts::One(&[]) };
    let wanted: Vec<usize> = (0..session.signature().outputs.len()).collect();
    let run = session.run(&[input], &wanted).map_err(|error| error.to_string());
    let outputs = run.map(|run| run.outputs.into_iter().map(|output| (output.index, output.shape)).collect());
    (told.try_recv().ok(), outputs)
}

#[test]
fn shapes_become_the_models_and_back_and_only_listed_outputs_are_computed() {
    let config =
        "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1, -1, 1 ] reshape { shape: [ -1, 1 ] } } ]";
    let outputs =
        "output [ { name: \"y\" data_type: TYPE_FP32 dims: [ -1, 1, 3 ] reshape { shape: [ -1, 3 ] } } ]";
    let (asked, outputs) = run(&format!("{config} {outputs}"), &[1, 5, 1], [&[5, 3], &[]]);
    assert_eq!(asked, Some((vec![vec![5, 1]], vec![0])));
    assert_eq!(outputs, Ok(vec![(0, vec![5, 1, 3])]));
}

#[test]
fn outputs_are_numbered_as_clients_see_them() {
    let config = "output [ { name: \"scalar\" data_type: TYPE_FP32 dims: [ 1 ] } ]";
    let (asked, outputs) = run(config, &[5, 1], [&[5, 3], &[]]);
    assert_eq!(asked, Some((vec![vec![5, 1]], vec![1])));
    assert_eq!(outputs, Ok(vec![(0, vec![1])]));
    // A model that doesn't tell dimensions tells the same as of a scalar.
    assert_eq!(run(config, &[5, 1], [&[5, 3], &[2, 2]]).1, Ok(vec![(0, vec![2, 2])]));
}

#[test]
fn what_is_not_as_declared_is_an_error_and_not_an_answer() {
    let config = "output [ { name: \"y\" data_type: TYPE_FP32 dims: [ 5, -1 ] } ]";
    assert_eq!(run(config, &[5, 1], [&[5, 3], &[]]).1, Ok(vec![(0, vec![5, 3])]));
    let error = run(config, &[5, 1], [&[4, 3], &[]]).1.unwrap_err();
    assert!(error.contains("output 'y' was computed with shape [4, 3]"), "{error}");
    let config = "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 2 ] reshape { shape: [ 1, 2 ] } } ]";
    let (asked, outputs) = run(config, &[3], [&[5, 3], &[]]);
    assert!(asked.is_none() && outputs.unwrap_err().contains("input 'x' has shape [3]"));
}
