"""The nodes that together are layer normalization enter, one LayerNormalization leaves.

    mean = ReduceMean(x); d = x - mean; d / Sqrt(ReduceMean(d * d) + epsilon) * scale + bias        over the last axis

as PyTorch writes it, with Pow or Mul for the square, with Mul by a Reciprocal for the Div, and with or without scale and
bias.
"""

import numpy as np
import onnx

from ..graph import Graph, attribute
from ..model import opset

FIRST_OPSET = 17


def apply(model):
    # The operator is ONNX' own from here on; the pass `opset` leads there.
    if opset(model) < FIRST_OPSET:
        return None
    done = 0
    while True:
        graph = Graph(model)
        ranks = ranks_of(model)
        found = next(filter(None, (match(graph, ranks, node) for node in model.graph.node)), None)
        if found is None:
            break
        rewrite(graph, *found)
        done += 1
    return f"{done} groups of nodes to LayerNormalization" if done else None


def ranks_of(model):
    values = (*model.graph.value_info, *model.graph.input)
    return {
        value.name: len(value.type.tensor_type.shape.dim) for value in values if value.type.tensor_type.HasField("shape")
    }


def match(graph, ranks, root):
    """From the Sqrt outwards: source, epsilon, scale, bias, last node."""
    if root.op_type != "Sqrt":
        return None
    added = graph.makers.get(root.input[0])
    if added is None or added.op_type != "Add":
        return None
    variance, epsilon = tensor_and_number(graph, added)
    mean_of_squares = graph.makers.get(variance)
    if epsilon is None or not reduces_last(graph, ranks, mean_of_squares):
        return None
    centred = squared(graph, mean_of_squares.input[0])
    minus = graph.makers.get(centred)
    if minus is None or minus.op_type != "Sub":
        return None
    source, mean = minus.input[0], graph.makers.get(minus.input[1])
    if not reduces_last(graph, ranks, mean) or mean.input[0] != source:
        return None
    last = divided(graph, centred, root)
    if last is None:
        return None
    # The centred tensor is read by the square and the division alone.
    if centred in graph.outputs or len(graph.readers[centred]) > 2 or graph.only_reader(root.output[0]) is None:
        return None
    rank = ranks.get(source, 1)
    last, scale = next_by(graph, last, "Mul", rank)
    last, bias = next_by(graph, last, "Add", rank) if scale is not None else (last, None)
    if scale is None and not width_of(graph.model, source):
        return None
    return source, epsilon, scale, bias, last


def tensor_and_number(graph, node):
    for index in (0, 1):
        value = graph.constant(node.input[index])
        if value is not None and value.size == 1:
            return node.input[1 - index], float(value.reshape(-1)[0])
    return "", None


def reduces_last(graph, ranks, node):
    if node is None or node.op_type != "ReduceMean" or not attribute(node, "keepdims", 1):
        return False
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1:
        axes = graph.constant(node.input[1])
    if axes is None or len(axes) != 1:
        return False
    rank = ranks.get(node.input[0])
    return int(axes[0]) == -1 or (rank is not None and int(axes[0]) == rank - 1)


def squared(graph, name):
    maker = graph.makers.get(name)
    if maker is None:
        return ""
    if maker.op_type == "Mul" and maker.input[0] == maker.input[1]:
        return maker.input[0]
    if maker.op_type == "Pow":
        power = graph.constant(maker.input[1])
        if power is not None and power.size == 1 and float(power.reshape(-1)[0]) == 2.0:
            return maker.input[0]
    return ""


def divided(graph, centred, root):
    """The node that divides by the root."""
    reader = graph.only_reader(root.output[0])
    if reader is None:
        return None
    if reader.op_type == "Div" and list(reader.input) == [centred, root.output[0]]:
        return reader
    if reader.op_type == "Reciprocal":
        after = graph.only_reader(reader.output[0])
        if after is not None and after.op_type == "Mul" and set(after.input) == {centred, reader.output[0]}:
            return after
    return None


def next_by(graph, node, kind, rank):
    """The one node after it that scales (or shifts) by a vector, and the vector's name."""
    reader = graph.only_reader(node.output[0])
    if reader is None or reader.op_type != kind or len(set(reader.input)) != 2:
        return node, None
    name = reader.input[1] if reader.input[0] == node.output[0] else reader.input[0]
    value = graph.constant(name)
    # A vector over the last axis: it makes the tensor no larger.
    if value is None or value.dtype != np.float32 or value.size < 2 or value.shape[-1] != value.size or value.ndim > rank:
        return node, None
    return reader, name


def rewrite(graph, source, epsilon, scale, bias, last):
    model, output = graph.model, last.output[0]
    name = graph.fresh(f"LayerNormalization:{output}")
    if scale is None:
        width = width_of(model, source)
        scale = graph.add_weight(f"{name}/scale", np.ones(width, np.float32))
    else:
        scale = graph.add_weight(f"{name}/scale", graph.constant(scale).reshape(-1))
    inputs = [source, scale]
    if bias is not None:
        inputs.append(graph.add_weight(f"{name}/bias", graph.constant(bias).reshape(-1)))
    node = onnx.helper.make_node("LayerNormalization", inputs, [output], name, axis=-1, epsilon=epsilon)
    at = list(model.graph.node).index(last)
    model.graph.node.insert(at, node)
    model.graph.node.remove(last)
    Graph(model).clean()


def width_of(model, source):
    for value in (*model.graph.value_info, *model.graph.input):
        if value.name == source:
            return value.type.tensor_type.shape.dim[-1].dim_value
    return 0
