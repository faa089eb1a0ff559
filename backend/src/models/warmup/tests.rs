use super::*;
use crate::engine::{OutputTensor, Run};

/// Shape and data.
type Ran = (Vec<i64>, Vec<u8>);

/// Notes what it is run on.
struct Noting {
    signature: Signature,
    ran: Vec<Ran>,
}

impl Session for Noting {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], _: &[usize]) -> Result<Run, EngineError> {
        let noted = inputs.iter().map(|input| {
            let Parts::One(data) = input.data else { panic!("in parts") };
            (input.shape.to_vec(), data.to_vec())
        });
        self.ran.extend(noted);
        Ok(Run { outputs: Vec::<OutputTensor>::new(), gathering: std::time::Duration::ZERO })
    }
}

/// What a session is run on for that input of a warm-up.
fn ran(max_batch_size: i32, warmup: &str, input: &str) -> Result<Vec<Ran>, String> {
    let text = format!(
        "max_batch_size: {max_batch_size}\nmodel_warmup {{ name: \"first\" {warmup} inputs {{\nkey: \"x\" value {{ {input} }} }} }}"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(FOLDER)).unwrap();
    std::fs::write(folder.path().join(FOLDER).join("two"), [1, 2]).unwrap();
    let written = config::read(Path::new("c"), text.as_bytes(), "m").unwrap();
    let mut session = Noting { signature: Signature { inputs: vec![], outputs: vec![] }, ran: vec![] };
    let told = |error: WarmupError| format!("{}: {error}", written.places.at(&error.field(&written.config)));
    run(folder.path(), &written.config, &mut session).map_err(told)?;
    Ok(session.ran)
}

#[test]
fn each_kind_of_data_warms_a_model() {
    let zeros = ran(0, "", "data_type: TYPE_INT16 dims: [ 2 ] zero_data: true").unwrap();
    assert_eq!(zeros, [(vec![2], vec![0; 4])]);
    let batch =
        ran(8, "batch_size: 3 count: 2", "data_type: TYPE_UINT8 dims: [ 1 ] zero_data: true").unwrap();
    assert_eq!(batch, [(vec![3, 1], vec![0; 3]), (vec![3, 1], vec![0; 3])]);
    let file = ran(0, "", "data_type: TYPE_UINT8 dims: [ 2 ] input_data_file: \"two\"").unwrap();
    assert_eq!(file, [(vec![2], vec![1, 2])]);
    let random = || ran(0, "", "data_type: TYPE_UINT8 dims: [ 64 ] random_data: true").unwrap();
    assert!(random() == random() && random()[0].1.iter().any(|byte| *byte != 0));
}

#[test]
fn a_warmup_that_cant_be_made_is_told_with_its_line() {
    let error = ran(0, "", "data_type: TYPE_UINT8 dims: [ 3 ] input_data_file: \"two\"").unwrap_err();
    assert!(error.starts_with("c:3: ") && error.contains("has 2 bytes of data"), "{error}");
}
