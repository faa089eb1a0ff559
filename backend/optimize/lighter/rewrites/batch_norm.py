"""Convolutions with what scales and shifts their channels after them enter, convolutions alone leave.

A scale is a BatchNormalization, or an Add, Sub, Mul or Div by one number for each channel. A Transpose or a Cast to the same
type may stand between, as in models that compute with channels last.
"""

import numpy as np
import onnx

from ..graph import Graph, attribute

ELEMENTWISE = {"Add", "Sub", "Mul", "Div"}


def apply(model):
    casts = drop_casts(model)
    graph, folded = Graph(model), 0
    for node in list(model.graph.node):
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or node.domain != "":
            continue
        # Each folding lays the next one bare.
        while (found := scale_after(graph, node)) is not None and fold(graph, node, *found):
            graph, folded = Graph(model), folded + 1
    graph.clean()
    if not folded:
        return f"{casts} empty casts taken out" if casts else None
    also = f", {casts} empty casts taken out" if casts else ""
    return f"{folded} scales and shifts of channels folded into the weights before them{also}"


def drop_casts(model):
    """Casts of 32-bit floats to 32-bit floats."""
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.input)}
    graph = Graph(model)
    dropped = 0
    for node in list(model.graph.node):
        float_ = onnx.TensorProto.FLOAT
        if node.op_type == "Cast" and attribute(node, "to") == float_ and types.get(node.input[0]) == float_:
            if node.output[0] in graph.outputs:
                continue
            rename_reads(model, node.output[0], node.input[0])
            model.graph.node.remove(node)
            dropped += 1
    return dropped


def rename_reads(model, old, new):
    from ..model import graphs

    for graph in graphs(model.graph):
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new
        if graph is not model.graph:
            for value in graph.output:
                if value.name == old:
                    value.name = new


def scale_after(graph, node):
    """The node after this one that scales its channels, with factor and shift for each of them."""
    weight = graph.constant(node.input[1])
    if weight is None or weight.dtype != np.float32:
        return None
    rank = weight.ndim
    channels = channels_of(node, weight)
    # Where the channels are, in the tensor that is looked at.
    axis = 1 if node.op_type in ("Conv", "ConvTranspose") else -1
    name, between = node.output[0], 0
    while between < 4:
        reader = graph.only_reader(name)
        if reader is None:
            return None
        if reader.op_type == "Transpose" and axis >= 0 and attribute(reader, "perm"):
            axis = list(attribute(reader, "perm")).index(axis)
            name, between = reader.output[0], between + 1
            continue
        found = factor_and_shift(graph, reader, name, axis, rank, channels)
        return None if found is None else (reader, name, *found)
    return None


def channels_of(node, weight):
    if node.op_type == "Conv":
        return weight.shape[0]
    if node.op_type == "ConvTranspose":
        return weight.shape[1] * attribute(node, "group", 1)
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return weight.shape[0]
    return weight.shape[-1] if weight.ndim == 2 else 0


def factor_and_shift(graph, reader, name, axis, rank, channels):
    one, none = np.ones(channels, np.float64), np.zeros(channels, np.float64)
    if (
        reader.op_type == "BatchNormalization"
        and axis == 1
        and reader.input[0] == name
        and len([o for o in reader.output if o]) == 1
    ):
        if attribute(reader, "training_mode", 0):
            return None
        values = [graph.constant(input_) for input_ in reader.input[1:5]]
        if any(value is None or value.size != channels for value in values):
            return None
        gamma, beta, mean, variance = (value.astype(np.float64) for value in values)
        factor = gamma / np.sqrt(variance + attribute(reader, "epsilon", 1e-5))
        return factor, beta - mean * factor
    if reader.op_type not in ELEMENTWISE or len(set(reader.input)) != 2:
        return None
    index = 1 if reader.input[0] == name else 0
    value = by_channel(graph.constant(reader.input[index]), axis, rank, channels)
    if value is None:
        return None
    if reader.op_type == "Add":
        return one, value
    if reader.op_type == "Mul":
        return value, none
    if reader.op_type == "Sub":
        return (one, -value) if index == 1 else (-one, value)
    return (1 / value, none) if index == 1 and value.all() else None


def by_channel(value, axis, rank, channels):
    """A constant as one number for each channel, if it is that."""
    if value is None or value.dtype != np.float32:
        return None
    if value.size == 1 and value.ndim <= max(rank, 1):
        return np.full(channels, value.reshape(-1)[0], np.float64)
    # Counted from the last axis, as broadcasting does.
    place = axis - rank if axis >= 0 else axis
    if value.size != channels or -place > value.ndim or value.ndim > rank or value.shape[place] != channels:
        return None
    return value.reshape(-1).astype(np.float64)


def fold(graph, node, reader, name, factor, shift):
    weight = graph.constant(node.input[1]).astype(np.float64)
    if node.op_type == "Gemm" and attribute(node, "beta", 1.0) != 1.0:
        return False
    if node.op_type == "MatMul" and shift.any():
        return False
    bias_name = node.input[2] if len(node.input) > 2 else ""
    bias = graph.constant(bias_name) if bias_name else np.zeros(1, np.float32)
    if bias is None or bias.size not in (1, factor.size):
        return False
    bias = bias.reshape(-1).astype(np.float64) * factor + shift
    weight = scaled(node, weight, factor)
    if not all(np.isfinite(values.astype(np.float32)).all() for values in (weight, bias)):
        return False
    node.input[1] = graph.add_weight(f"{node.input[1]}/folded", weight.astype(np.float32))
    if node.op_type != "MatMul":
        bias_name = graph.add_weight(f"{bias_name or node.input[1]}/shifted", bias.astype(np.float32))
        del node.input[2:]
        node.input.append(bias_name)
    take_out(graph, reader, name)
    return True


def scaled(node, weight, factor):
    if node.op_type == "ConvTranspose":
        groups = attribute(node, "group", 1)
        rows = np.repeat(factor.reshape(groups, -1), weight.shape[0] // groups, axis=0)
        return weight * rows.reshape(weight.shape[0], weight.shape[1], *(1,) * (weight.ndim - 2))
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return weight * factor


def take_out(graph, reader, name):
    """The node's output is then made by the node before it: names that others know stay."""
    output = reader.output[0]
    maker = graph.makers[name]
    maker.output[list(maker.output).index(name)] = output
    graph.graph.node.remove(reader)
    for value in list(graph.graph.value_info):
        if value.name == name:
            graph.graph.value_info.remove(value)
