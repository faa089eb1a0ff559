"""A model, samples, ranges and a static recipe enter, the recipe's nodes leave, those first that lose most when they
alone are quantized.

Two measures. `by: "output"`: the model with one node quantized against the model as it is, at the model's outputs; a session
and `count` runs for each node. `by: "node"`: one pass, each node beside its quantized self, at its own output; quick, and
blind for what the rest of the model makes of it. The error is the worst output's: its squared error by its squared values.
"""

import numpy as np
import onnx

from . import static
from .bounds import threads
from .model import load
from .prepare import prepare
from .ranges import read
from .refusal import Refused, field, known_fields, names
from .samples import Samples
from .session import open_, options
from .session import run as run_session

COUNT = 8


def run(job):
    known_fields(job, ("model", "samples", "count", "ranges", "recipe", "by", "among", "threads", "memory_bytes"))
    by = field(job, "by", str, "output", among=("output", "node"))
    recipe = field(job, "recipe", dict)
    if recipe.get("kind") != "static":
        raise Refused("sensitivities are of a static recipe")
    model = load(field(job, "model", str))
    prepare(model)
    samples = Samples(field(job, "samples", str), field(job, "count", int, COUNT))
    ranges = read(field(job, "ranges", str))
    # Those alone, if the job names some: of the ones that are worst by node, say.
    among = set(names(job, "among", []))
    taken = [one for one in static.taken(model, recipe, ranges) if not among or one[0] in among]
    if not taken:
        raise Refused("the recipe is for no node of the model")
    measure = at_outputs if by == "output" else at_nodes
    errors = measure(model, [name for name, _ in taken], recipe, ranges, samples, threads(job))
    return {"nodes": sorted(errors.items(), key=lambda one: (-one[1], one[0]))}


def at_outputs(model, names, recipe, ranges, samples, threads_):
    session = open_(model, options(threads_))
    floats = [value.name for value in session.get_outputs() if value.type == "tensor(float)"]
    if not floats:
        # Classes alone: what decides them is not an output.
        raise Refused("no output of the model is of 32-bit floats, so its errors have no size; ask by node")
    wanted = [run_session(session, floats, inputs, index) for index, inputs in enumerate(samples.of(session.get_inputs()))]
    errors = {}
    for name in names:
        other = open_(static.only(model, name, recipe, ranges), options(threads_))
        total = np.zeros((2, len(floats)))
        for index, inputs in enumerate(samples.of(other.get_inputs())):
            for place, (want, have) in enumerate(zip(wanted[index], run_session(other, floats, inputs, index), strict=True)):
                total[:, place] += squares(want, have)
        errors[name] = float(max(ratio(*one) for one in total.T))
    return errors


def squares(want, have):
    if want.shape != have.shape:
        # A number of boxes that depends on the values: as wrong as can be.
        return np.array([1.0, 1.0])
    want, have = want.astype(np.float64), have.astype(np.float64)
    error = np.sum((want - have) ** 2)
    return np.array([error if np.isfinite(error) else np.sum(want**2), np.sum(want**2)])


def ratio(error, whole):
    return error / whole if whole else float(error > 0)


def at_nodes(model, names, recipe, ranges, samples, threads_):
    """Beside each node its quantized self, which reads what the node reads; their errors are summed inside the model."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    wanted = set(names)
    beside, outputs, owners = [], [], {}
    for place, node in enumerate(node for node in model.graph.node if node.name in wanted):
        prefix = f"forebay/{place}/"
        made = rename(static.alone(model, node, recipe, ranges), prefix, wide)
        owners[node.name] = len(outputs)
        beside += made
        error, square = f"{prefix}error", f"{prefix}square"
        beside += [
            onnx.helper.make_node("Sub", [node.output[0], f"{prefix}{node.output[0]}"], [f"{prefix}difference"]),
            onnx.helper.make_node("ReduceSumSquare", [f"{prefix}difference"], [error], keepdims=0),
            onnx.helper.make_node("ReduceSumSquare", [node.output[0]], [square], keepdims=0),
        ]
        outputs += [error, square]
    wide.graph.node.extend(beside)
    del wide.graph.output[:]
    wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    session = open_(wide, options(threads_))
    total = np.zeros(len(outputs))
    for index, inputs in enumerate(samples.of(session.get_inputs())):
        total += np.array(
            [float(np.asarray(value).reshape(-1)[0]) for value in run_session(session, outputs, inputs, index)]
        )
    return {name: float(ratio(total[place], total[place + 1])) for name, place in owners.items()}


def rename(part, prefix, wide):
    """A quantized part's nodes and weights under names of their own, but for what enters it."""
    entering = {value.name for value in part.graph.input}

    def name_of(name):
        return name if not name or name in entering else f"{prefix}{name}"

    made = []
    for tensor in part.graph.initializer:
        tensor.name = name_of(tensor.name)
        wide.graph.initializer.append(tensor)
    for one in part.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(one)
        copy.name = name_of(one.name)
        replace_names(copy.input, name_of)
        replace_names(copy.output, name_of)
        made.append(copy)
    return made


def replace_names(names, name_of):
    fresh = [name_of(name) for name in names]
    del names[:]
    names.extend(fresh)
