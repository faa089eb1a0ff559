"""A model and a recipe enter, which nodes it is for leaves, and why others stay as they are."""

import math

import numpy as np
import onnx

from .graph import Graph
from .refusal import Refused, field, names

# Weights smaller than this aren't worth a word in a report.
WORTH_BYTES = 1024

# Which input of a node is the weight that a recipe makes smaller.
WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1, "Gather": 0, "LSTM": 1}


def fields(recipe, known):
    """The recipe's lists, checked."""
    for name in recipe:
        if name not in known:
            raise Refused(f"a {recipe['kind']} recipe has no field {name!r}; it has {', '.join(known)}")
    return (
        names(recipe, "ops"),
        set(names(recipe, "keep", [])),
        field(recipe, "per_channel", bool, False),
        field(recipe, "reduce_range", bool, False),
    )


def nodes(model, ops, keep, known, why_not):
    """Names and kinds of the nodes that the recipe is for, and (name, kind, why) of those that stay.

    `why_not(graph, node)` says what is against a node of the right kind.
    """
    for op in ops:
        if op not in known:
            raise Refused(f"there is no such quantization of {op}; there is of {', '.join(sorted(known))}")
    unknown = keep - {node.name for node in model.graph.node}
    if unknown:
        raise Refused(f"'keep' names {sorted(unknown)[0]!r}, which is no node of the model")
    graph = Graph(model)
    taken, left = [], []
    for node in model.graph.node:
        if node.op_type in ops and node.domain == "":
            why = "the recipe keeps it" if node.name in keep else why_not(graph, node)
            if why is None:
                taken.append((node.name, node.op_type))
            else:
                left.append((node.name, node.op_type, why))
        elif weight_bytes(graph, node) >= WORTH_BYTES:
            left.append((node.name, node.op_type, f"the recipe isn't for {node.op_type}"))
    return taken, left


def weight_bytes(graph, node):
    """Of the node's weights of 32-bit floats."""
    tensors = [graph.weights[name] for name in node.input if name in graph.weights]
    return sum(4 * math.prod(tensor.dims) for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT)


def float_weight(graph, node):
    """What is against the weight of a node of those kinds, else None."""
    index = WEIGHT_INPUT[node.op_type]
    weight = graph.constant(node.input[index])
    if weight is None:
        return "it has no constant weight"
    if weight.dtype != np.float32:
        return f"its weight is {weight.dtype}"
    if not np.isfinite(weight).all():
        return "its weight is infinite or no number somewhere"
    if weight.size == 0:
        return "its weight is empty"
    return None
