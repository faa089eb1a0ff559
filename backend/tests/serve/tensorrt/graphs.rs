//! CUDA graphs: which runs are launches of one, and what becomes of those that can't be.

use serde_json::json;
use tensorrt_double::onnx;

use super::traced::{DOWNLOAD, RUN, Traced};
use super::{ask, plan, plan_of, right};

const GRAPHS: &str = "optimization { cuda { graphs: true } }";
/// So that it is known which lane has which request.
const ONE_LANE: &str = r#"parameters { key: "lanes" value { string_value: "1" } }"#;
const CAPTURE: &str = "cuStreamBeginCapture_v2";
const LAUNCH: &str = "cuGraphLaunch";

fn one_lane(plan: &[u8], failing: &str) -> Traced {
    Traced::start(&format!("{GRAPHS} {ONE_LANE}"), plan, failing)
}

#[test]
fn the_second_run_of_a_shape_is_captured_and_later_ones_are_launches() {
    let traced = one_lane(&plan(), "");
    // The first run of one row was the warm-up's.
    for (value, launches) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        right(&ask(&traced.forebay, 1, value), 1, value);
        assert_eq!((traced.count(RUN), traced.count(LAUNCH)), (3, launches));
    }
}

#[test]
fn runs_are_graphs_only_where_the_model_asks_for_them() {
    let traced = Traced::start(ONE_LANE, &plan(), "");
    (1..5).for_each(|value| right(&ask(&traced.forebay, 1, value), 1, value));
    assert_eq!((traced.count(RUN), traced.count(CAPTURE)), (5, 0));
}

#[test]
fn what_a_warm_up_ran_twice_is_a_launch_from_the_first_request_on() {
    let warmup = r#"model_warmup { name: "w" count: 2
        inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3, 4 ] zero_data: true } } }"#;
    let traced = Traced::start(&format!("{GRAPHS} {warmup}"), &plan(), "");
    right(&ask(&traced.forebay, 3, 5), 3, 5);
    assert_eq!((traced.count(CAPTURE), traced.count(LAUNCH)), (2, 1), "each lane has a graph of its own");
}

#[test]
fn a_graph_is_right_whatever_other_shapes_ran_since_it_was_captured() {
    let traced = one_lane(&plan(), "");
    for round in 0..5 {
        for rows in [1, 2, 3, 64] {
            right(&ask(&traced.forebay, rows, 10 * round + rows), rows, 10 * round + rows);
        }
    }
    // One row's second run, its first was the warm-up's; more memory forgets it; then each of the four once.
    assert_eq!(traced.count(CAPTURE), 5, "{}", traced.count(RUN));
    assert_eq!(traced.count(LAUNCH), 9, "{}", traced.count(RUN));
}

#[test]
fn another_profile_or_more_memory_has_graphs_captured_anew() {
    // Neither profile allows what the other does.
    let traced = one_lane(&plan_of(&onnx::affine(), &[[&[1, 4], &[4, 4]], [&[5, 4], &[64, 4]]]), "");
    let ask_all = |asked: &[(usize, usize)]| {
        for &(rows, value) in asked {
            right(&ask(&traced.forebay, rows, value), rows, value);
        }
        (traced.count(CAPTURE), traced.count(LAUNCH))
    };
    assert_eq!(ask_all(&[(1, 1), (1, 2)]), (1, 1));
    // More memory in the same profile, and then the other profile, outdate what was captured; what comes again is captured again,
    // and launched from then on.
    let (captured, launched) = ask_all(&[(4, 3), (1, 4), (1, 5), (1, 6)]);
    assert!(captured > 1 && launched > 1, "{captured} {launched}");
    let (again, relaunched) = ask_all(&[(4, 7), (4, 8), (64, 9), (1, 10), (1, 11), (1, 12)]);
    assert!(again > captured && relaunched > launched, "{again} {relaunched}");
}

#[test]
fn batches_of_all_sizes_in_all_lanes_are_right_with_graphs() {
    let config = r#"platform: "tensorrt_plan" max_batch_size: 64 dynamic_batching { } instance_group { count: 2 kind: KIND_GPU }"#;
    let traced = Traced::start(&format!("{config} {GRAPHS}"), &plan(), "");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let forebay = &traced.forebay;
            scope.spawn(move || {
                for round in 0..24 {
                    let (rows, value) = (1 + (thread + round) % 3, thread * 100 + round);
                    right(&ask(forebay, rows, value), rows, value);
                }
            });
        }
    });
    // Whichever of the four lanes has each.
    (0..12).for_each(|value| right(&ask(&traced.forebay, 7, value), 7, value));
    assert!(traced.count(LAUNCH) > 0);
    assert_eq!(traced.said("CUDA graph"), [""; 0]);
}

#[test]
fn an_output_whose_size_the_run_tells_is_never_captured_which_is_said_once() {
    let traced = one_lane(&plan_of(&onnx::non_zero(), &[[&[1], &[64]]]), "");
    for _ in 0..3 {
        for count in [3_usize, 5] {
            let input = json!({ "name": "x", "datatype": "FP32", "shape": [count], "data": vec![1; count] });
            let answer = traced.forebay.infer("affine", &[], &json!({ "inputs": [input] }));
            let places: Vec<usize> = (0..count).collect();
            assert_eq!((answer.status, &answer.json()["outputs"][0]["data"]), (200, &json!(places)));
        }
    }
    assert_eq!(traced.count(CAPTURE), 0);
    let said = traced.said("CUDA graphs");
    assert!(
        said.len() == 1 && said[0].contains("the size of an output is known only as it runs"),
        "{said:?}"
    );
}

#[test]
fn a_shape_that_fails_to_be_captured_or_launched_is_enqueued_from_then_on() {
    for call in [CAPTURE, "cuStreamEndCapture", "cuGraphInstantiateWithFlags", LAUNCH] {
        let traced = one_lane(&plan(), &format!("{call}:*=2"));
        for (rows, value) in [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6), (1, 7), (2, 8)] {
            right(&ask(&traced.forebay, rows, value), rows, value);
        }
        assert_eq!((traced.count(CAPTURE), traced.count(call)), (2, 2), "{call}: one a shape");
        assert_eq!(traced.said("CUDA graphs").len(), 1, "{call}");
    }
}

#[test]
fn a_run_that_tensorrt_refuses_to_have_captured_is_answered_all_the_same() {
    // The third: after the warm-up's and the first request's own.
    let traced = one_lane(&plan(), &format!("{RUN}:3=2"));
    (1..5).for_each(|value| right(&ask(&traced.forebay, 1, value), 1, value));
    assert_eq!((traced.count(CAPTURE), traced.count(LAUNCH)), (1, 0));
    assert_eq!(traced.said("CUDA graphs").len(), 1);
}

#[test]
fn an_error_after_a_launch_is_one_requests_and_the_next_is_launched() {
    // The fourth copy back is that of the second launch.
    let traced = one_lane(&plan(), &format!("{DOWNLOAD}:4=2"));
    (1..3).for_each(|value| right(&ask(&traced.forebay, 1, value), 1, value));
    assert_eq!(ask(&traced.forebay, 1, 3).status, 500);
    right(&ask(&traced.forebay, 1, 4), 1, 4);
    assert_eq!(traced.count(LAUNCH), 3);
}

#[test]
fn graph_spec_is_said_to_be_ignored() {
    let traced =
        Traced::start("optimization { cuda { graphs: true graph_spec { batch_size: 4 } } }", &plan(), "");
    right(&ask(&traced.forebay, 4, 1), 4, 1);
    assert_eq!(traced.said("graph_spec is ignored").len(), 1);
}
