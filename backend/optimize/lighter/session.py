"""A model in memory enters, ONNX Runtime's session of it leaves: on the CPU, with as many threads as the job says."""

import onnxruntime

from .refusal import Refused

LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def options(threads, level="all", entries=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = LEVELS[level]
    for entry, value in (entries or {}).items():
        options.add_session_config_entry(entry, value)
    return options


def open_(model, settings):
    """The session; from bytes, so that no file is looked for beside the model."""
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  Its exceptions have no base of their own.
        raise Refused(f"ONNX Runtime doesn't load the model: {reason(error)}") from error


def run(session, outputs, inputs, sample):
    try:
        return session.run(outputs, inputs)
    except Exception as error:  # noqa: BLE001
        raise Refused(f"the model fails on sample {sample}: {reason(error)}") from error


def reason(error):
    return str(error).removeprefix("[ONNXRuntimeError] : ")
