//! The scenarios of `driver/`, each in a process of its own: those that must end well, and the planted bugs, each of which the
//! double must catch in its own way.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;
use tensorrt_double::{DEVICES, onnx};

const ABORT: i32 = 6;
const SEGMENT: i32 = 11;

/// The ONNX files that scenarios read.
fn models() -> &'static TempDir {
    static MODELS: OnceLock<TempDir> = OnceLock::new();
    MODELS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let models = [("affine", onnx::affine()), ("non_zero", onnx::non_zero()), ("layer", onnx::layer())];
        for (name, model) in models {
            std::fs::write(folder.path().join(name), model.encode()).expect(name);
        }
        folder
    })
}

fn run(scenario: &str) -> Output {
    let models = models().path();
    Command::new(env!("FOREBAY_DOUBLE_DRIVER"))
        .arg(scenario)
        .args(["affine", "non_zero", "layer"].map(|name| models.join(name)))
        .env(DEVICES, "2")
        .output()
        .expect("the driver starts")
}

fn passes(scenario: &str) {
    let output = run(scenario);
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// It ends by that signal, or, under ASAN, by its report of a forbidden access.
fn dies(scenario: &str, signal: i32) {
    let output = run(scenario);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("the bug comes now"), "it ended before: {text}");
    let reported = signal == SEGMENT && text.contains("AddressSanitizer: SEGV");
    assert!(output.status.signal() == Some(signal) || reported, "{}\n{text}", output.status);
}

macro_rules! scenarios {
    ($($name:ident: $expect:expr;)*) => {$(
        #[test]
        fn $name() {
            $expect(stringify!($name));
        }
    )*};
}

scenarios! {
    copies_and_fills_are_done_in_order: passes;
    an_event_holds_another_stream: passes;
    timed_events_tell_time: passes;
    unpinned_copies_are_over_when_the_call_returns: passes;
    memory_ends: passes;
    an_error_stays_and_what_waits_goes_on: passes;
    devices_are_apart: passes;
    rules_make_calls_fail: passes;
    host_functions_run_on_the_stream: passes;
    many_threads_use_many_streams: passes;

    a_graph_does_its_work_at_every_launch_and_not_before: passes;
    a_stream_joins_a_capture_and_must_be_joined: passes;
    what_can_not_be_captured_spoils_the_capture: passes;
    only_a_global_capture_binds_other_threads: passes;
    a_capture_ends_where_it_began: passes;

    an_onnx_file_is_built_loaded_and_run_with_dynamic_shapes: passes;
    shapes_are_held_to_the_profile: passes;
    a_layer_computes_what_onnx_runtime_computes: passes;
    an_output_may_tell_its_size_as_it_runs: passes;
    a_plan_is_refused_for_what_is_wrong_with_it: passes;
    a_plan_needs_ranges_for_dynamic_inputs: passes;
    an_engine_can_be_refitted: passes;
    contexts_can_use_memory_of_the_users: passes;
    consumed_inputs_are_told_before_outputs_are_done: passes;
    a_captured_run_is_replayed_with_new_inputs: passes;
    a_graph_gives_other_bytes_once_its_context_took_other_shapes: passes;
    memory_for_engines_and_contexts_ends: passes;
    the_budget_of_streamed_weights_is_bounded: passes;
}

/// Each name says the bug.
mod planted {
    use super::{ABORT, SEGMENT, dies, passes};

    scenarios! {
        the_host_reads_a_device_address: |name| dies(name, SEGMENT);
        the_host_reads_freed_pinned_memory: |name| dies(name, SEGMENT);
        the_host_reads_a_copy_that_is_not_done: |name| dies(name, SEGMENT);
        the_host_writes_what_is_still_to_be_copied: |name| dies(name, SEGMENT);
        the_source_of_a_copy_is_freed: passes;
        the_pinned_source_of_a_copy_is_freed: passes;
        the_target_of_a_copy_is_too_small: passes;
        an_output_is_too_small: passes;
        an_output_is_freed_before_the_run: passes;
        an_input_is_freed_before_the_run: passes;
        a_context_is_destroyed_as_it_runs: |name| dies(name, ABORT);
        an_engine_is_destroyed_before_its_context: |name| dies(name, ABORT);
        two_threads_use_one_context: |name| dies(name, ABORT);
        two_runs_share_scratch_memory: passes;
        what_is_not_given_back_is_told: passes;
    }
}
