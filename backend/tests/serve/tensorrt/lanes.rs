//! Lanes: while one request runs, another is copied. By gates of the double, which hold work when its turn on the GPU comes.

use serde_json::json;
use tensorrt_double::onnx;

use super::traced::{DOWNLOAD, RUN, Traced, UPLOAD};
use super::{ask, command, plan, plan_of, repository, right};
use crate::process::{Forebay, refused};

/// Each lane has a graph of four rows before the first request comes.
const GRAPHS: &str = r#"optimization { cuda { graphs: true } } model_warmup { name: "w" count: 2
    inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4, 4 ] zero_data: true } } }"#;

#[test]
fn a_request_is_copied_in_and_out_while_another_runs() {
    for (config, launches) in [("", 0), (GRAPHS, 2)] {
        let traced = Traced::start(config, &plan(), "");
        std::thread::scope(|scope| {
            let traced = &traced;
            let ask = |value| scope.spawn(move || right(&ask(&traced.forebay, 4, value), 4, value));
            traced.close(RUN);
            ask(1);
            traced.await_held(RUN, 1);
            // The first one's run isn't done, and the second one's copy has its turn.
            traced.close(UPLOAD);
            ask(2);
            traced.await_held(UPLOAD, 1);
            traced.close(DOWNLOAD);
            traced.open(UPLOAD);
            traced.open(RUN);
            // The first one's copy back isn't done, and the second one's run is.
            traced.await_held(DOWNLOAD, 2);
            traced.open(DOWNLOAD);
        });
        assert_eq!(traced.count("cuGraphLaunch"), launches);
    }
}

#[test]
fn an_error_in_one_lane_is_not_the_others() {
    // Each lane was warmed by a run of its own; the fourth copy is the second request's.
    let traced = Traced::start("", &plan(), &format!("{UPLOAD}:4=2"));
    std::thread::scope(|scope| {
        traced.close(RUN);
        let held = scope.spawn(|| right(&ask(&traced.forebay, 2, 7), 2, 7));
        traced.await_held(RUN, 1);
        let failed = ask(&traced.forebay, 2, 8);
        assert_eq!(failed.status, 500, "{failed:?}");
        traced.open(RUN);
        held.join().unwrap();
    });
    for value in 0..4 {
        right(&ask(&traced.forebay, 3, value), 3, value);
    }
}

#[test]
fn lanes_of_one_context_take_profiles_and_shapes_in_turns_and_do_not_mix() {
    let config = r#"parameters { key: "lanes" value { string_value: "4" } }"#;
    // Neither profile allows what the other does.
    let plan = plan_of(&onnx::affine(), &[[&[1, 4], &[4, 4]], [&[5, 4], &[64, 4]]]);
    let root = repository(config, &plan);
    let forebay = Forebay::start(command(root.path(), &["--pool", "none"]));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let forebay = &forebay;
            scope.spawn(move || {
                for round in 0..12 {
                    let rows = 1 + (thread * 5 + round * 3) % 9;
                    right(&ask(forebay, rows, thread * 100 + round), rows, thread * 100 + round);
                }
            });
        }
    });
}

#[test]
fn outputs_whose_size_the_run_tells_are_each_requests_own() {
    let root = repository("", &plan_of(&onnx::non_zero(), &[[&[1], &[64]]]));
    let forebay = Forebay::start(command(root.path(), &["--pool", "none"]));
    std::thread::scope(|scope| {
        for count in 1..=8_usize {
            let forebay = &forebay;
            scope.spawn(move || {
                for zeros in 0..8 {
                    let values: Vec<usize> = std::iter::repeat_n(0, zeros).chain(vec![1; count]).collect();
                    let shape = [values.len()];
                    let input = json!({ "name": "x", "datatype": "FP32", "shape": shape, "data": values });
                    let answer = forebay.infer("affine", &[], &json!({ "inputs": [input] }));
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let places: Vec<usize> = (zeros..zeros + count).collect();
                    assert_eq!(answer.json()["outputs"][0]["data"], json!(places));
                }
            });
        }
    });
}

#[test]
fn lanes_that_are_no_number_within_bounds_refuse_the_model() {
    let root = repository(r#"parameters { key: "lanes" value { string_value: "0" } }"#, &plan());
    let (code, said) = refused(&mut command(root.path(), &[]));
    let reason = "config.pbtxt:1: lanes is \"0\", must be a whole number from 1 to 8";
    assert!(code == Some(1) && said.contains(reason), "{said}");
}
