use std::io::Write as _;

use clap::Parser;
use forebay_protocol::datatype::ALL;

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    inputs: InputSettings,
}

fn flags(words: &[&str]) -> InputSettings {
    Flags::try_parse_from(std::iter::once(&"test").chain(words)).unwrap().inputs
}

fn model(inputs: &[(&str, &str, &[i64])]) -> Model {
    let tensor = |(name, datatype, shape): &(&str, &str, &[i64])| Tensor {
        name: (*name).to_owned(),
        datatype: (*datatype).to_owned(),
        shape: shape.to_vec(),
    };
    Model { name: "m".to_owned(), inputs: inputs.iter().map(tensor).collect() }
}

#[test]
fn made_up_inputs_of_every_datatype_are_what_the_protocol_takes() {
    for datatype in ALL {
        let model = model(&[("x", datatype.as_str(), &[-1, 3])]);
        let asked = made_up(&model, &flags(&["--shape", "x:5,3"]), 7).unwrap();
        assert_eq!(asked.request.inputs[0].shape, [5, 3]);
        let data = &asked.request.raw_input_contents[0];
        assert_eq!(check_raw(datatype, &[5, 3], data, &LIMITS), Ok(()), "{datatype}");
    }
}

#[test]
fn the_same_seed_makes_up_the_same_request_and_another_seed_another() {
    let model = model(&[("x", "FP32", &[16]), ("y", "BYTES", &[4])]);
    let data = |seed| made_up(&model, &flags(&[]), seed).unwrap().request.raw_input_contents;
    assert_eq!(data(1), data(1));
    assert_ne!(data(1), data(2));
}

#[test]
fn values_stay_within_their_range() {
    let model = model(&[("ids", "INT64", &[1000])]);
    let asked = made_up(&model, &flags(&["--range", "ids:-2,2"]), 1).unwrap();
    let values: Vec<i64> = asked.request.raw_input_contents[0]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|value| i64::from_le_bytes(*value))
        .collect();
    assert_eq!((values.iter().min(), values.iter().max()), (Some(&-2), Some(&2)));
}

#[test]
fn a_flag_of_an_input_that_is_not_there_is_told_which_are() {
    let model = model(&[("a", "FP32", &[1]), ("b", "FP32", &[1])]);
    for words in [["--shape", "x:1"], ["--range", "x:0,1"], ["--input", "x=/dev/null"]] {
        let Err(error) = made_up(&model, &flags(&words), 0) else { panic!("accepted") };
        let said = error.to_string();
        assert!(said.contains(words[0]) && said.contains("'x'") && said.contains("a, b"), "{said}");
    }
}

#[test]
fn a_file_of_raw_values_fills_its_free_dimension() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0; 24]).unwrap();
    let word = format!("x={}", file.path().display());
    let asked = made_up(&model(&[("x", "FP32", &[-1, 3])]), &flags(&["--input", &word]), 0).unwrap();
    assert_eq!(asked.request.inputs[0].shape, [2, 3]);
    let Err(error) = made_up(&model(&[("x", "FP32", &[5])]), &flags(&["--input", &word]), 0) else {
        panic!("accepted")
    };
    assert_eq!(
        error.to_string(),
        "input 'x' of shape [5]: shape and datatype stand for 20 bytes, 24 are given"
    );
}

#[test]
fn a_file_with_a_request_is_read_as_a_server_reads_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let body = br#"{"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2.5]}]}"#;
    file.write_all(body).unwrap();
    let path = file.path().to_owned();
    let asked = given("m", &flags(&["--output", "y"]), &path).unwrap();
    assert_eq!(asked.request.raw_input_contents[0], [1.0_f32, 2.5].map(f32::to_le_bytes).concat());
    assert_eq!((asked.request.id.as_str(), asked.request.outputs[0].name.as_str()), ("7", "y"));
    file.as_file().set_len(20).unwrap();
    assert!(given("m", &flags(&[]), &path).is_err());
}
