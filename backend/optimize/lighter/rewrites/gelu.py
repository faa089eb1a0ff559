"""Many elementwise nodes that together are GELU enter, one Gelu leaves.

A group is found by its Erf or Tanh and grown over nodes that read one tensor and numbers alone, however they are written.
What it is, is told by what it computes: on a grid of inputs, in 64-bit floats, against GELU itself. This goes before
quantization: between Q/DQ nodes ONNX Runtime doesn't see the pattern any more.
"""

import math

import numpy as np
import onnx

from ..graph import Graph
from ..model import opset, want_domain

BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}
UNARY = {"Tanh": np.tanh, "Erf": np.vectorize(math.erf), "Neg": np.negative, "Identity": lambda value: value}

GRID = np.concatenate([np.linspace(-12, 12, 97), np.linspace(-1, 1, 33)])

# Models write the root of two with four digits and more.
CLOSE = 2e-4

# The opset from which ONNX has Gelu itself.
OWN_GELU = 20


def exact(value):
    return 0.5 * value * (1 + UNARY["Erf"](value / math.sqrt(2)))


def by_tanh(value):
    return 0.5 * value * (1 + np.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))


def apply(model):
    done = 0
    while True:
        graph = Graph(model)
        graph.least_rank = least_rank(model)
        found = next(filter(None, (match(graph, node) for node in model.graph.node)), None)
        if found is None:
            break
        rewrite(graph, *found)
        done += 1
    return f"{done} groups of nodes to Gelu" if done else None


def least_rank(model):
    """Of tensors that Erf and Tanh make."""
    names = {node.output[0] for node in model.graph.node if node.op_type in ("Erf", "Tanh")}
    shapes = [value.type.tensor_type for value in model.graph.value_info if value.name in names]
    known = [len(shape.shape.dim) for shape in shapes if shape.HasField("shape")]
    return min(known, default=1) if len(known) == len(names) else 1


def match(graph, core):
    """The group's source, its last node, which GELU it is, and its nodes."""
    if core.op_type not in ("Erf", "Tanh") or core.domain != "":
        return None
    wanted, form = (exact, "none") if core.op_type == "Erf" else (by_tanh, "tanh")
    for source in sources(graph, core):
        with np.errstate(all="ignore"):
            found = grow(graph, core, source)
            if found is None:
                continue
            for last, value in found:
                if np.shape(value) == GRID.shape and np.allclose(value, wanted(GRID), rtol=CLOSE, atol=CLOSE):
                    nodes = group(graph, source, last)
                    if nodes is not None:
                        return source, last, form, nodes
    return None


def sources(graph, core):
    """Tensors that the group may be a function of: what leads to its core through numbers alone, nearest first."""
    name, seen = core.input[0], []
    for _ in range(8):
        seen.append(name)
        maker = graph.makers.get(name)
        if maker is None or maker.op_type not in BINARY and maker.op_type not in UNARY:
            break
        inputs = [input_ for input_ in maker.input if number(graph, input_) is None]
        if len(set(inputs)) == 1:
            name = inputs[0]
            continue
        # x + 0.044715 x^3: both lead to the same tensor.
        roots = [root(graph, input_) for input_ in inputs]
        common = [one for one in roots[0] if all(one in other for other in roots[1:])]
        if not common:
            break
        name = common[0]
    return seen


def root(graph, name):
    """The tensor and what it is made of, through nodes of one tensor, nearest first."""
    found, left = [], [name]
    while left and len(found) < 16:
        one = left.pop(0)
        if one in found:
            continue
        found.append(one)
        maker = graph.makers.get(one)
        if maker is not None and (maker.op_type in BINARY or maker.op_type in UNARY):
            left += [input_ for input_ in maker.input if number(graph, input_) is None]
    return found


def number(graph, name):
    """A weight's only value. It has no more axes than activations have, so it doesn't add one."""
    tensor = graph.weights.get(name)
    if tensor is None or math.prod(tensor.dims) != 1 or len(tensor.dims) > graph.least_rank:
        return None
    return float(graph.constant(name).reshape(-1)[0])


def grow(graph, core, source):
    """Nodes after the core that are functions of the source alone, with their values, as far as they go."""
    values = {source: GRID}
    if evaluate(graph, core.output[0], values, 12) is None:
        return None
    found, name = [], core.output[0]
    for _ in range(6):
        reader = graph.only_reader(name)
        if reader is None or (reader.op_type not in BINARY and reader.op_type not in UNARY):
            break
        name = reader.output[0]
        value = evaluate(graph, name, values, 12)
        if value is None:
            break
        found.append((reader, value))
    return found


def evaluate(graph, name, values, depth):
    if name in values:
        return values[name]
    value = number(graph, name)
    if value is not None:
        return np.float64(value)
    maker = graph.makers.get(name)
    if maker is None or depth == 0 or maker.domain != "":
        return None
    function = BINARY.get(maker.op_type) or UNARY.get(maker.op_type)
    if function is None:
        return None
    inputs = [evaluate(graph, input_, values, depth - 1) for input_ in maker.input]
    if any(input_ is None for input_ in inputs):
        return None
    values[name] = function(*inputs)
    return values[name]


def group(graph, source, last):
    """The nodes between, if nothing else reads what they make."""
    nodes, left = [], [last]
    while left:
        node = left.pop()
        if any(node is one for one in nodes):
            continue
        nodes.append(node)
        for name in node.input:
            if name != source and number(graph, name) is None:
                left.append(graph.makers[name])
    for node in nodes:
        if node is last:
            continue
        if node.output[0] in graph.outputs:
            return None
        if any(not any(reader is one for one in nodes) for reader in graph.readers[node.output[0]]):
            return None
    return nodes


def rewrite(graph, source, last, form, nodes):
    model, output = graph.model, last.output[0]
    name = graph.fresh(f"Gelu:{output}")
    if opset(model) >= OWN_GELU:
        node = onnx.helper.make_node("Gelu", [source], [output], name, approximate=form)
    else:
        # Microsoft's has no form: FastGelu is the one by tanh.
        kind = "Gelu" if form == "none" else "FastGelu"
        node = onnx.helper.make_node(kind, [source], [output], name, domain="com.microsoft")
        want_domain(model, "com.microsoft")
    at = next(index for index, one in enumerate(model.graph.node) if one.output == last.output)
    model.graph.node.insert(at, node)
    for one in nodes:
        model.graph.node.remove(one)
    Graph(model).clean()
