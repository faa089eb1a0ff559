//! The table. A message stands in it where it is refused or ignored as a whole, else each of its fields does.

use crate::config::Platform::{self, OnnxRuntime, TensorRt};

/// What becomes of a field that is set. How, and what shows it, is for the page and its test.
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Fate {
    /// It is acted on: how, and the test that shows it.
    Served(&'static str, &'static str),
    /// The same, for models of one platform alone; ignored with a warning for others.
    ServedBy(Platform, &'static str, &'static str),
    /// The model is refused: why.
    Refused(&'static str),
    /// A warning is logged: why.
    Ignored(&'static str),
}

use Fate::{Ignored, Refused, Served, ServedBy};

const BATCH: &str = "tensors that are made of a batch's requests are not";
const DECLARED: &str = "what_the_model_has_not_is_refused_with_its_field";
const DEFAULT: &str = "a_policy_of_the_default_says_how_its_requests_wait";
const LEVEL: &str = "a_policy_of_a_level_says_how_its_requests_wait";
const FORMAT: &str = "a_format_is_told_and_wants_three_dims";
const INSTANCES: &str = "instances_are_counted_for_each_gpu_that_a_group_names_or_for_all";
const PINNED: &str = "buffers are pinned where a GPU copies them";
const OPTIONS: &str = "how_onnx_runtime_runs_a_model_is_its_configurations_say";
const POLICY: &str = "the_policy_picks_the_versions";
const RESHAPE: &str = "clients_see_dims_and_the_model_gets_what_they_are_reshaped_to";
const NARROWER: &str = "narrower_dims_are_told_and_held_to";
const WARMUP: &str = "each_kind_of_data_warms_a_model";

pub(super) const FIELDS: &[(&str, Fate)] = &[
    ("name", Served("the folder's name, or left out", "what_cant_be_served_is_refused_with_field_and_line")),
    (
        "platform",
        Served(
            "`onnxruntime_onnx`, `tensorrt_plan`",
            "a_models_platform_is_what_it_says_or_what_its_file_is",
        ),
    ),
    ("backend", Served("`onnxruntime`, `tensorrt`", "a_models_platform_is_what_it_says_or_what_its_file_is")),
    ("runtime", Ignored("engines are this program's own")),
    ("version_policy.latest.num_versions", Served("the highest so many, 1 or more", POLICY)),
    ("version_policy.all", Served("each folder that is named by a number", POLICY)),
    (
        "version_policy.specific.versions",
        Served("those that are there; others are a warning", "versions_that_are_not_there_are_left_out"),
    ),
    (
        "max_batch_size",
        Served("the most rows of a request and a batch", "rows_must_agree_and_stay_within_the_limit"),
    ),
    (
        "input.name",
        Served("as the model has it: all that it needs", "fewer_inputs_than_the_model_needs_are_refused"),
    ),
    ("input.data_type", Served("as the model has it", DECLARED)),
    ("input.format", Served("told to clients; NHWC and NCHW want three dims, as in Triton", FORMAT)),
    (
        "input.dims",
        Served("without the batch's, each 1 or more, or -1; may be narrower than the model's", NARROWER),
    ),
    (
        "input.reshape.shape",
        Served("what the model gets in place of dims; free ones keep their order", RESHAPE),
    ),
    ("input.is_shape_tensor", Ignored("a plan says itself which of its tensors are shapes")),
    ("input.allow_ragged_batch", Refused("requests of different shapes share no batch")),
    (
        "input.optional",
        Served(
            "an initializer that is an input too is the default; with a batch, where its first dimension is free",
            "a_request_may_leave_out_what_has_a_default",
        ),
    ),
    ("input.is_non_linear_format_io", Refused("tensors are linear")),
    (
        "output.name",
        Served(
            "as the model has it; where some are listed, the others are not there",
            "only_the_outputs_that_are_listed_exist",
        ),
    ),
    ("output.data_type", Served("as the model has it", DECLARED)),
    (
        "output.dims",
        Served("as of inputs; what is computed is held to those that the model leaves free", NARROWER),
    ),
    (
        "output.label_filename",
        Served("a file of the model's folder, a label a line", "labels_name_the_classes"),
    ),
    ("output.reshape.shape", Served("what the model gives in place of dims", RESHAPE)),
    ("output.is_shape_tensor", Ignored("a plan says itself which of its tensors are shapes")),
    ("output.is_non_linear_format_io", Refused("tensors are linear")),
    ("batch_input", Refused(BATCH)),
    ("batch_output", Refused(BATCH)),
    (
        "optimization.graph.level",
        ServedBy(OnnxRuntime, "0 all, 1 extended, -1 basic, 2 none of ONNX Runtime's optimisations", OPTIONS),
    ),
    ("optimization.priority", Ignored("models share processors and GPUs evenly")),
    (
        "optimization.cuda.graphs",
        ServedBy(
            TensorRt,
            "runs of shapes that come again are CUDA graphs",
            "runs_are_graphs_only_where_the_model_asks_for_them",
        ),
    ),
    ("optimization.cuda.busy_wait_events", Ignored("a thread sleeps while its GPU computes")),
    (
        "optimization.cuda.graph_spec",
        Ignored("graphs are made of the shapes that come; model_warmup with count 2 makes them before"),
    ),
    ("optimization.cuda.output_copy_stream", Ignored("each lane copies on its own stream")),
    (
        "optimization.execution_accelerators.gpu_execution_accelerator.name",
        Served("`tensorrt`, `cuda`", OPTIONS),
    ),
    (
        "optimization.execution_accelerators.gpu_execution_accelerator.parameters",
        Served(
            "TensorRT's by trtexec's names and Triton's, a provider's by ONNX Runtime's",
            "every_key_sets_what_it_names",
        ),
    ),
    ("optimization.execution_accelerators.cpu_execution_accelerator.name", Served("`openvino`", OPTIONS)),
    (
        "optimization.execution_accelerators.cpu_execution_accelerator.parameters",
        Served("the provider's, by ONNX Runtime's names", OPTIONS),
    ),
    ("optimization.input_pinned_memory", Ignored(PINNED)),
    ("optimization.output_pinned_memory", Ignored(PINNED)),
    (
        "optimization.gather_kernel_buffer_threshold",
        Ignored("inputs are gathered before they are copied to a GPU"),
    ),
    ("optimization.eager_batching", Ignored("a batch is gathered when a session takes it")),
    (
        "dynamic_batching.preferred_batch_size",
        Served(
            "such a batch doesn't wait",
            "requests_that_make_a_preferred_batch_run_once_and_each_gets_its_rows",
        ),
    ),
    (
        "dynamic_batching.max_queue_delay_microseconds",
        Served(
            "how long a batch waits to grow",
            "a_batch_waits_for_its_delay_and_not_when_it_is_whole_or_preferred",
        ),
    ),
    (
        "dynamic_batching.preserve_ordering",
        Served(
            "answers leave as requests came",
            "answers_keep_the_order_of_their_requests_where_that_is_promised",
        ),
    ),
    (
        "dynamic_batching.priority_levels",
        Served(
            "queues, the most urgent first, up to 1,024",
            "urgent_requests_go_first_and_levels_have_bounds_of_their_own",
        ),
    ),
    (
        "dynamic_batching.default_priority_level",
        Served("of requests that don't say", "unknown_priorities_are_the_default"),
    ),
    ("dynamic_batching.default_queue_policy.timeout_action", Served("`REJECT`, `DELAY`", DEFAULT)),
    ("dynamic_batching.default_queue_policy.default_timeout_microseconds", Served("0: no end", DEFAULT)),
    (
        "dynamic_batching.default_queue_policy.allow_timeout_override",
        Served("a request may ask for less", DEFAULT),
    ),
    (
        "dynamic_batching.default_queue_policy.max_queue_size",
        Served("0: without a bound of its own", DEFAULT),
    ),
    ("dynamic_batching.priority_queue_policy.timeout_action", Served("as of the default", LEVEL)),
    (
        "dynamic_batching.priority_queue_policy.default_timeout_microseconds",
        Served("as of the default", LEVEL),
    ),
    ("dynamic_batching.priority_queue_policy.allow_timeout_override", Served("as of the default", LEVEL)),
    ("dynamic_batching.priority_queue_policy.max_queue_size", Served("as of the default", LEVEL)),
    ("sequence_batching", Refused("stateful models are not")),
    ("ensemble_scheduling", Refused("ensembles are not")),
    ("instance_group.name", Served("told to clients", "groups_without_a_name_or_count_get_tritons")),
    ("instance_group.kind", Served("`KIND_MODEL` is the CPU, as in Triton's backend for ONNX", INSTANCES)),
    ("instance_group.count", Served("sessions on each device, up to 1,024", INSTANCES)),
    (
        "instance_group.rate_limiter",
        Ignored("an instance runs when it is free, as in Triton without --rate-limit"),
    ),
    ("instance_group.gpus", Served("all, if none are named", INSTANCES)),
    ("instance_group.secondary_devices", Refused("DLAs are not")),
    ("instance_group.profile", Ignored("a run takes the first profile of the plan that fits")),
    ("instance_group.passive", Served("has no session", "a_passive_group_has_no_session")),
    ("instance_group.host_policy", Ignored("there is one policy for all processors")),
    (
        "default_model_filename",
        Served("a file of the version's folder", "a_models_platform_is_what_it_says_or_what_its_file_is"),
    ),
    ("cc_model_filenames", Refused("name one file in default_model_filename")),
    ("metric_tags", Ignored("series are told by model and version")),
    (
        "parameters.string_value",
        Served(
            "of keys that are known: [below](#parameters); others are a warning",
            "a_parameter_that_nothing_reads_is_a_warning",
        ),
    ),
    ("model_warmup.name", Served("for messages", "a_warmup_that_fails_refuses_the_model_with_its_name")),
    ("model_warmup.batch_size", Served("rows, where the model has a batch", WARMUP)),
    ("model_warmup.inputs.data_type", Served("of the input", WARMUP)),
    ("model_warmup.inputs.dims", Served("without the batch's, whole", WARMUP)),
    ("model_warmup.inputs.zero_data", Served("zeros", WARMUP)),
    ("model_warmup.inputs.random_data", Served("the same at each start", WARMUP)),
    ("model_warmup.inputs.input_data_file", Served("a file of the model's `warmup/`", WARMUP)),
    ("model_warmup.count", Served("how often", WARMUP)),
    ("model_operations", Refused("libraries of operators are not loaded")),
    ("model_transaction_policy.decoupled", Refused("decoupled models are not")),
    (
        "model_repository_agents.agents.name",
        Served("`checksum`; others are refused", "files_are_what_the_checksums_say_or_the_model_is_refused"),
    ),
    (
        "model_repository_agents.agents.parameters",
        Served(
            "`MD5:<path in the model's folder>` and the sum",
            "files_are_what_the_checksums_say_or_the_model_is_refused",
        ),
    ),
    ("response_cache.enable", Served("answers are kept", "answers_are_kept_only_where_the_model_says_so")),
    ("model_metrics", Ignored("histograms have buckets of their own")),
];
