use super::*;

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec(), is_optional: false }
}

/// A model with a batch, or what may be one.
fn model() -> Signature {
    let factor = TensorSpec { is_optional: true, ..spec("factor", DataType::Fp32, &[1]) };
    Signature {
        inputs: vec![spec("a", DataType::Fp32, &[-1, 2]), spec("b", DataType::Int64, &[-1]), factor],
        outputs: vec![spec("x", DataType::Fp32, &[-1, -1]), spec("y", DataType::Bytes, &[-1])],
    }
}

fn viewed(model: &Signature, text: &str) -> Result<View, DeclarationError> {
    View::of(model, &config::parse(std::path::Path::new("c"), text.as_bytes(), "m").unwrap())
}

fn view(text: &str) -> Result<View, DeclarationError> {
    viewed(&model(), text)
}

fn shapes(specs: &[TensorSpec]) -> Vec<&[i64]> {
    specs.iter().map(|spec| &spec.shape[..]).collect()
}

const A: &str = "{ name: \"a\" data_type: TYPE_FP32 dims: [ -1, 2 ] }";
const B: &str = "{ name: \"b\" data_type: TYPE_INT64 dims: [ -1 ] }";

#[test]
fn without_a_declaration_it_is_the_model_but_for_what_has_a_default() {
    let view = view("").unwrap();
    assert_eq!(view.signature.inputs, model().inputs[..2]);
    assert_eq!(view.signature.outputs, model().outputs);
    assert!(!view.is_all_of(&model()), "what has a default isn't seen");
    let without = Signature { inputs: model().inputs[..2].to_vec(), ..model() };
    assert!(view.is_all_of(&without));
}

#[test]
fn a_scalar_is_a_one_with_a_batch_and_without() {
    let scalar = Signature {
        inputs: vec![spec("x", DataType::Fp32, &[])],
        outputs: vec![spec("y", DataType::Fp32, &[])],
    };
    for text in [
        "",
        "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] } ]",
        "input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]",
    ] {
        let view = viewed(&scalar, text).unwrap();
        assert_eq!(shapes(&view.signature.inputs), [&[1][..]], "{text}");
        assert_eq!(view.inputs[0].as_ref().unwrap().of(&[1]), Some(vec![]));
        assert_eq!(view.outputs[0].1.as_ref().unwrap().of(&[]), Some(vec![1]));
    }
    let batched = Signature {
        inputs: vec![spec("x", DataType::Fp32, &[-1])],
        outputs: vec![spec("y", DataType::Fp32, &[-1])],
    };
    for text in [
        "max_batch_size: 4",
        "max_batch_size: 4 input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]",
    ] {
        let view = viewed(&batched, text).unwrap();
        assert_eq!(shapes(&view.signature.inputs), [&[-1, 1][..]], "{text}");
        assert_eq!(view.inputs[0].as_ref().unwrap().of(&[3, 1]), Some(vec![3]));
        assert_eq!(view.outputs[0].1.as_ref().unwrap().of(&[3]), Some(vec![3, 1]));
    }
    let unbatched = "max_batch_size: 4 input [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] } ]";
    assert!(viewed(&batched, unbatched).unwrap_err().to_string().contains("declared with shape [-1,1]"));
}

#[test]
fn free_dimensions_keep_their_order_in_a_reshape() {
    let text = format!(
        "input [ {{ name: \"a\" data_type: TYPE_FP32 dims: [ 1, -1, 2 ] reshape {{ shape: [ -1, 2 ] }} }}, {B} ]
        output [ {{ name: \"x\" data_type: TYPE_FP32 dims: [ -1, 1, -1 ] reshape {{ shape: [ -1, -1 ] }} }} ]"
    );
    let view = view(&text).unwrap();
    assert_eq!(shapes(&view.signature.inputs), [&[1, -1, 2][..], &[-1]]);
    let input = view.inputs[0].as_ref().unwrap();
    assert_eq!((input.of(&[1, 7, 2]), input.of(&[2, 7, 2])), (Some(vec![7, 2]), None));
    let output = view.outputs[0].1.as_ref().unwrap();
    assert_eq!(output.of(&[3, 4]), Some(vec![3, 1, 4]));
}

#[test]
fn what_is_narrower_is_seen_and_what_an_output_is_declared_as_is_held_to() {
    let text = format!(
        "input [ {{ name: \"a\" data_type: TYPE_FP32 dims: [ 3, 2 ] }}, {B} ]
        output [ {{ name: \"x\" data_type: TYPE_FP32 dims: [ 3, -1 ] }} ]"
    );
    let view = view(&text).unwrap();
    assert_eq!(shapes(&view.signature.inputs), [&[3, 2][..], &[-1]]);
    assert_eq!(view.inputs, [None, None]);
    let output = view.outputs[0].1.as_ref().unwrap();
    assert_eq!((output.of(&[3, 4]), output.of(&[2, 4])), (Some(vec![3, 4]), None));
}

#[test]
fn outputs_that_are_not_listed_are_not_there_and_the_others_keep_their_places() {
    let view = view("output [ { name: \"y\" data_type: TYPE_STRING dims: [ -1 ] } ]").unwrap();
    assert_eq!(view.outputs, [(1, None)]);
    assert_eq!(view.signature.outputs, model().outputs[1..]);
}

#[test]
fn what_has_a_default_is_an_input_where_it_is_declared_optional() {
    let factor = |more: &str| format!("{{ name: \"factor\" data_type: TYPE_FP32 dims: [ 1 ] {more} }}");
    let optional = view(&format!("input [ {A}, {B}, {} ]", factor("optional: true"))).unwrap();
    assert!(optional.signature.inputs[2].is_optional && optional.is_all_of(&model()));
    for (text, field, expected) in [
        (
            format!("input [ {A}, {B}, {} ]", factor("")),
            "input[2].optional",
            "declare it with optional: true",
        ),
        (
            format!("input [ {A}, {} ]", B.replace('}', "optional: true }")),
            "input[1].optional",
            "no default for it",
        ),
        (
            format!("max_batch_size: 2 input [ {}, {} ]", A.replace("-1, 2", "2"), factor("optional: true")),
            "max_batch_size",
            "first dimension of input \"factor\" is not free",
        ),
    ] {
        let config = config::parse(std::path::Path::new("c"), text.as_bytes(), "m").unwrap();
        let error = View::of(&model(), &config).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.field(&config), field);
    }
}

#[test]
fn what_the_model_has_not_is_refused_with_its_field() {
    for (text, field, expected) in [
        (
            "input [ { name: \"c\" data_type: TYPE_FP32 dims: [ 2 ] } ]",
            "input[0].name",
            "it has \"a\", \"b\"",
        ),
        (
            "input [ { name: \"a\" data_type: TYPE_INT8 dims: [ 2 ] } ]",
            "input[0].data_type",
            "declared as INT8",
        ),
        (
            "output [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1 ] } ]",
            "output[0].dims",
            "declared with shape [1], but the model has [-1,-1]",
        ),
        // A dimension that the model fixes is not free.
        ("input [ { name: \"a\" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]", "input[0].dims", "has [-1,2]"),
        (
            "input [ { name: \"a\" data_type: TYPE_FP32 dims: [ -1, 2 ] } ]",
            "input",
            "input \"b\" of the model",
        ),
    ] {
        let config = config::parse(std::path::Path::new("c"), text.as_bytes(), "m").unwrap();
        let error = View::of(&model(), &config).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.field(&config), field, "{error}");
    }
}

#[test]
fn a_promise_is_held_to_all_but_the_shapes_of_outputs() {
    let promise = |text: &str| {
        let config = config::parse(std::path::Path::new("c"), text.as_bytes(), "m").unwrap();
        View::check_promise(&model(), &config).map_err(|error| error.to_string())
    };
    assert_eq!(promise("output [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1, 1, 1 ] } ]"), Ok(()));
    assert!(promise("output [ { name: \"z\" data_type: TYPE_FP32 dims: [ 1 ] } ]").is_err());
    assert!(promise("input [ { name: \"a\" data_type: TYPE_FP32 dims: [ -1, 2 ] } ]").is_err());
}
