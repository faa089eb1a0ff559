"""A model, samples and session entries enter, the shares of time by kind of operator and by node leave, of the model as
it is served.

ONNX Runtime fuses nodes when it loads a model; a fused node counts for the kind that it computes. It writes profiles to
files only, so the job names a folder for them, `scratch`.
"""

import json
import os
from collections import defaultdict

from .bounds import threads
from .model import load
from .prepare import prepare
from .refusal import Refused, field, known_fields
from .samples import Samples
from .scratch import beside
from .session import open_, options
from .session import run as run_session

# Runs before the ones that count.
WARM = 2

# Kinds that ONNX Runtime makes of others.
FUSED = {
    "FusedConv": "Conv",
    "FusedMatMul": "MatMul",
    "FusedGemm": "Gemm",
    "QLinearConv": "Conv",
    "QLinearMatMul": "MatMul",
    "QGemm": "Gemm",
}

# Larger profiles aren't read.
PROFILE_BYTES = 512 << 20


def run(job):
    known_fields(job, ("model", "samples", "count", "session", "scratch", "threads", "memory_bytes"))
    entries = field(job, "session", dict, {})
    if not all(isinstance(value, str) for value in entries.values()):
        raise Refused("'session' must be texts by name")
    model = load(field(job, "model", str))
    # Without names, times couldn't be told apart.
    prepare(model)
    samples = Samples(field(job, "samples", str), field(job, "count", int, 8))
    with beside(os.path.join(field(job, "scratch", str), "profile")) as folder:
        found = events(model, samples, options(threads(job), entries=entries), folder)
    return shares(found, {node.name for node in model.graph.node})


def events(model, samples, settings, folder):
    settings.enable_profiling = True
    settings.profile_file_prefix = os.path.join(folder, "profile")
    session = open_(model, settings)
    first = next(samples.of(session.get_inputs()))
    for _ in range(WARM):
        run_session(session, None, first, 0)
    for index, inputs in enumerate(samples.of(session.get_inputs())):
        run_session(session, None, inputs, index)
    file = session.end_profiling()
    if os.path.getsize(file) > PROFILE_BYTES:
        raise Refused("the profile is too large; take fewer samples")
    with open(file, encoding="utf-8") as content:
        return [
            event for event in json.load(content) if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        ]


def shares(found, names):
    """The warm runs' events come first: each node's first WARM are left out."""
    seen, by_op, by_node = defaultdict(int), defaultdict(int), defaultdict(int)
    for event in found:
        node = event["name"].removesuffix("_kernel_time")
        seen[node] += 1
        if seen[node] > WARM:
            kind = event["args"].get("op_name", "?")
            by_op[FUSED.get(kind, kind)] += event["dur"]
            by_node[own_name(node, names)] += event["dur"]
    whole = sum(by_op.values()) or 1
    return {
        name: {key: value / whole for key, value in times.items()}
        for name, times in (("by_op", by_op), ("by_node", by_node))
    }


def own_name(node, names):
    """The model's own name of a node that ONNX Runtime named anew, where it is told by the new one."""
    short = node.removeprefix("fused ").split("/MatMulAddFusion")[0].removesuffix("_nchwc")
    return short if short in names else node
