"""A model enters, one whose weights are stored in 16 bits leaves, each with a Cast after it: half the file, the same
32-bit computing.

A session computes the casts once, when it loads.
"""

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper

from .graph import Graph, read_by
from .model import opset
from .refusal import Refused, field, known_fields, names

FIELDS = ("kind", "type", "keep")
TYPES = {"fp16": (np.float16, 9), "bf16": (ml_dtypes.bfloat16, 13)}

# A Cast has bytes too.
LEAST_BYTES = 512

# In a model that has these, vectors may be scales, and those are kept as they are.
QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "MatMulNBits"}


def apply(model, recipe, _ranges=None):
    known_fields(recipe, FIELDS)
    kind = field(recipe, "type", str, among=TYPES)
    dtype, oldest = TYPES[kind]
    if opset(model) < oldest:
        raise Refused(f"storage in {kind} wants opset {oldest}, the model has {opset(model)}: rewrite it with 'opset' first")
    keep = set(names(recipe, "keep", []))
    unknown = keep - {node.name for node in model.graph.node}
    if unknown:
        raise Refused(f"'keep' names {sorted(unknown)[0]!r}, which is no node of the model")
    graph = Graph(model)
    kept_weights = {name for node in model.graph.node if node.name in keep for name in read_by(node)}
    first = {}
    for node in model.graph.node:
        for name in read_by(node):
            first.setdefault(name, node)
    least_rank = 2 if any(node.op_type in QUANTIZED for node in model.graph.node) else 0
    taken, left, casts = {}, {}, []
    for tensor in list(model.graph.initializer):
        node = first.get(tensor.name)
        # An output of the model that is a weight stays one.
        if node is None or tensor.name in graph.outputs or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        if tensor.ByteSize() < LEAST_BYTES or len(tensor.dims) < least_rank or node.op_type in QUANTIZED:
            continue
        why = "the recipe keeps it" if tensor.name in kept_weights else narrow(graph, tensor, dtype)
        if why:
            left.setdefault(node.name, (node.name, node.op_type, why))
            continue
        casts.append(cast(graph, tensor, dtype))
        taken.setdefault(node.name, (node.name, node.op_type))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    return list(taken.values()), [entry for name, entry in left.items() if name not in taken], {}


def narrow(graph, tensor, dtype):
    """What is against 16 bits for this weight."""
    value = graph.constant(tensor.name)
    with np.errstate(over="ignore"):
        stored = value.astype(dtype).astype(np.float32)
    if not np.isfinite(value).all() or not np.isfinite(stored).all():
        return "its weight has numbers that 16 bits can't hold"
    return None


def cast(graph, tensor, dtype):
    """Puts the 16-bit weight in the place of the other, and a Cast under its name."""
    name = tensor.name
    stored = numpy_helper.from_array(graph.constant(name).astype(dtype), graph.fresh(f"{name}/stored"))
    tensor.CopyFrom(stored)
    graph.weights[stored.name] = tensor
    return onnx.helper.make_node("Cast", [stored.name], [name], graph.fresh(f"Cast:{name}"), to=onnx.TensorProto.FLOAT)
