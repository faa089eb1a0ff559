use super::*;
use crate::proto;

fn places(text: &str) -> Places {
    Places::of(Path::new("c"), text, &proto::descriptor("ModelConfig"))
}

#[test]
fn each_field_has_its_own_line_however_it_is_written() {
    let text = "# name: \"no\"\n\
                platform: \"name: x\"\n\
                input [\n\
                { name: \"x\" dims: [ 1,\n 2 ] }, { name: \"y\"\n reshape: { shape: [ ] } }\n\
                ]\n\
                input <\n name: \"z\"; dims: -1, dims: - 3\n dims: 4\n >\n\
                parameters { value { string_value: \"a\"\n \"b\" } key: \"lanes\" }\n\
                parameters: [ { key: \"k.e\"\n value: {\n string_value: \"}\" } } ]\n\
                future { name: \"name\" }\n\
                name: \"m\" max_batch_size:\n 4 dynamic_batching { priority_queue_policy {\n key: 1 value {\n\
                timeout_action: DELAY } } }";
    let places = places(text);
    for (field, line) in [
        ("platform", 2),
        ("input", 3),
        ("input[0]", 4),
        ("input[0].dims", 4),
        ("input[0].dims[1]", 5),
        ("input[1].name", 5),
        ("input[1].reshape", 6),
        ("input[1].reshape.shape[0]", 6),
        ("input[2].name", 9),
        ("input[2].dims[1]", 9),
        ("input[2].dims[2]", 10),
        ("parameters[lanes]", 13),
        ("parameters[lanes].string_value", 12),
        ("parameters[k.e].string_value", 16),
        ("parameters[other]", 12),
        ("name", 18),
        ("max_batch_size", 18),
        ("dynamic_batching.priority_queue_policy[1]", 20),
        ("dynamic_batching.priority_queue_policy[1].timeout_action", 21),
        ("output[0].dims", 1),
    ] {
        assert_eq!(places.line(field), line, "{field}\n{text}");
    }
    assert_eq!(places.at("name"), "c:18");
    assert_eq!(places.at_named("k.e"), "c:14");
    assert_eq!(places.at_named("timeout_action"), "c:21");
    assert_eq!(places.at_named("nothing"), "c");
}

#[test]
fn json_has_lines_too() {
    let text = "{\n \"name\": \"m\",\n \"input\": [ {\n \"name\": \"x\", \"isShapeTensor\": false,\n \"reshape\": {} } ],\n\
                \"parameters\": { \"a\": { \"string_value\": \"1\" },\n \"b\": {\n \"string_value\": \"2\" } } }";
    let places = places(text);
    for (field, line) in [
        ("name", 2),
        ("input[0].is_shape_tensor", 4),
        ("input[0].reshape", 5),
        ("parameters[a]", 6),
        ("parameters[b]", 7),
        ("parameters[b].string_value", 8),
    ] {
        assert_eq!(places.line(field), line, "{field}");
    }
}

#[test]
fn what_is_not_known_is_told_with_its_line() {
    let places =
        places("{ \"future\": 1,\n\"input\": [ {},\n{ \"dims\": [],\n\"colour\": { \"name\": 1 } } ] }");
    assert_eq!(places.unknown(), ["future", "input[1].colour"]);
    assert_eq!((places.line("future"), places.line("input[1].colour")), (1, 4));
}

#[test]
fn a_file_of_one_line_and_one_that_is_cut_anywhere_are_read() {
    let text =
        "name: 'm' input { name: \"x\" dims: [ 1 ] } parameters { key: \"k\" value { string_value: \"v\" } }";
    assert_eq!(places(text).line("parameters[k].string_value"), 1);
    for end in 0..text.len() {
        places(&text[..end]);
    }
    assert_eq!(Places::nowhere(Path::new("c")).at("name"), "c");
}
