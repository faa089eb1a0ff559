"""A model and samples enter, the range of each tensor of 32-bit floats leaves, as a file: what static quantization makes
scales of.

Bounded: one sample at a time. Least and greatest are computed inside the model, so a run keeps no more than the model itself
does. For histograms (`percentile`, `entropy`) tensors come out in chunks of at most CHUNK_BYTES, each into BINS counters
between its least and greatest.

    {"method": "minmax", "samples": 24, "tensors": {"name": [least, greatest], ...}, "left": {"name": "why it has none"}}
"""

import json

import numpy as np
import onnx

from . import histogram
from .bounds import threads
from .model import load, write
from .prepare import prepare
from .refusal import Refused, field, known_fields
from .samples import Samples
from .session import open_, options
from .session import run as run_session

METHODS = ("minmax", "entropy", "percentile")
CHUNK_BYTES = 64 << 20

# As ONNX Runtime's own calibration has it.
PERCENTILE = 99.999


def run(job):
    known_fields(job, ("model", "samples", "count", "method", "percentile", "out", "threads", "memory_bytes"))
    method = field(job, "method", str, "minmax", among=METHODS)
    percentile = field(job, "percentile", (int, float), PERCENTILE)
    if not 50 < percentile <= 100:
        raise Refused(f"'percentile' must be over 50 and at most 100, not {percentile}")
    model = load(field(job, "model", str))
    prepare(model)
    samples = Samples(field(job, "samples", str), field(job, "count", int, None))
    found, left = least_and_greatest(model, samples, threads(job))
    if method != "minmax":
        found = histogram.narrowed(model, samples, found, threads(job), method, percentile)
    reply = {
        "method": method,
        "samples": len(samples),
        "tensors": {name: values[:2] for name, values in found.items()},
        "left": left,
    }
    write(json.dumps(reply, sort_keys=True, allow_nan=False).encode(), field(job, "out", str))
    return {"tensors": len(found), "left": len(left)}


def floats(model):
    """Names of the tensors that may have a range: of 32-bit floats, made by the main graph or an input of it."""
    values = {value.name: value for value in (*model.graph.value_info, *model.graph.output, *model.graph.input)}
    made = [output for node in model.graph.node for output in node.output if output]
    return [
        name
        for name in (*(value.name for value in model.graph.input), *made)
        if name in values and values[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]


def least_and_greatest(model, samples, threads_):
    """For each tensor: least, greatest, and its most elements in one run."""
    names = floats(model)
    if not names:
        raise Refused("the model has no tensor of 32-bit floats, so there is nothing to quantize")
    wide, outputs = with_reductions(model, names)
    session = open_(wide, options(threads_))
    least, greatest, most = np.full(len(names), np.inf), np.full(len(names), -np.inf), np.zeros(len(names), np.int64)
    for index, inputs in enumerate(samples.of(session.get_inputs())):
        values = [np.asarray(value).reshape(-1) for value in run_session(session, outputs, inputs, index)]
        for place in range(len(names)):
            low, high, count = (values[3 * place + part] for part in range(3))
            if count[0]:
                # NaN stays NaN in both.
                least[place] = np.minimum(least[place], low[0])
                greatest[place] = np.maximum(greatest[place], high[0])
            most[place] = max(most[place], count[0])
    return kept(names, least, greatest, most)


def with_reductions(model, names):
    """The model with least, greatest and size of each tensor as its outputs."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.output[:]
    outputs = []
    for name in names:
        for kind, part in (("ReduceMin", "least"), ("ReduceMax", "greatest"), ("Size", "size")):
            output = f"forebay/{part}/{name}"
            keeps = {} if kind == "Size" else {"keepdims": 0}
            wide.graph.node.append(onnx.helper.make_node(kind, [name], [output], output, **keeps))
            wide.graph.output.append(onnx.ValueInfoProto(name=output))
            outputs.append(output)
    return wide, outputs


def kept(names, least, greatest, most):
    found, left = {}, {}
    for name, low, high, count in zip(names, least, greatest, most, strict=True):
        if count == 0:
            left[name] = "it was empty in every sample"
        elif not (np.isfinite(low) and np.isfinite(high)):
            left[name] = "it was infinite or no number in some sample"
        else:
            found[name] = [float(low), float(high), int(count)]
    return found, left


def read(path):
    """The ranges that `run` wrote, and why others have none."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        tensors = {name: (float(low), float(high)) for name, (low, high) in content["tensors"].items()}
        left = {str(name): str(why) for name, why in content["left"].items()}
    except OSError as error:
        raise Refused(f"the ranges {path} can't be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refused(f"{path} is no file of ranges") from error
    if not all(np.isfinite(values).all() and values[0] <= values[1] for values in tensors.values()):
        raise Refused(f"{path} is no file of ranges")
    return tensors, left
