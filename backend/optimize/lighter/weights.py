"""A model enters, one whose weights are stored in 8 or 4 bits leaves; it computes in 32 bits, so it loses less and is no
faster.

8 bits: a DequantizeLinear after each weight. The session must be told not to fuse it (`session.disable_quant_qdq`), else it
computes it again for each request. 4 bits: MatMulNBits, in blocks.
"""

import math

import numpy as np
import onnx

from . import chosen
from .graph import Graph, attribute
from .model import opset, want_domain
from .refusal import Refused, field, known_fields, names

FIELDS = ("kind", "bits", "keep", "block")
SESSION = {"session.disable_quant_qdq": "1"}
OLDEST_OPSET = 13

# Smaller weights than this gain nothing: scales and nodes have bytes too.
LEAST = 256

# The axis that has a scale for each entry, by kind of node.
AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": None, "Gather": 0, "LSTM": 1, "GRU": 1, "RNN": 1}
WEIGHT_INPUTS = {"Gather": (0,), "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2)}


def apply(model, recipe, _ranges=None):
    known_fields(recipe, FIELDS)
    bits = field(recipe, "bits", int, among=(8, 4))
    keep = set(names(recipe, "keep", []))
    unknown = keep - {node.name for node in model.graph.node}
    if unknown:
        raise Refused(f"'keep' names {sorted(unknown)[0]!r}, which is no node of the model")
    if opset(model) < OLDEST_OPSET:
        raise Refused(
            f"quantized weights want opset {OLDEST_OPSET}, the model has {opset(model)}: rewrite it with 'opset' first"
        )
    if bits == 4:
        return in_blocks(model, keep, field(recipe, "block", int, 32, among=(16, 32, 64, 128, 256)))
    return in_bytes(model, keep)


def in_bytes(model, keep):
    graph = Graph(model)
    taken, left, done = [], [], {}
    for node in list(model.graph.node):
        if node.op_type not in AXIS or node.domain != "":
            if chosen.weight_bytes(graph, node) >= chosen.WORTH_BYTES:
                left.append((node.name, node.op_type, f"weights of {node.op_type} are left alone"))
            continue
        why = "the recipe keeps it" if node.name in keep else against(graph, node)
        if why:
            left.append((node.name, node.op_type, why))
            continue
        for index in WEIGHT_INPUTS.get(node.op_type, (1,)):
            name = node.input[index]
            if name not in done:
                done[name] = dequantized(graph, model, node, name)
            node.input[index] = done[name]
        taken.append((node.name, node.op_type))
    Graph(model).clean()
    return taken, left, dict(SESSION)


def against(graph, node):
    for index in WEIGHT_INPUTS.get(node.op_type, (1,)):
        weight = graph.constant(node.input[index])
        if weight is None:
            return "it has no constant weight"
        if weight.dtype != np.float32 or not np.isfinite(weight).all():
            return "its weight isn't of finite 32-bit floats"
        if weight.size < LEAST or weight.ndim < 2:
            return f"its weight has fewer than {LEAST} numbers"
    return None


def dequantized(graph, model, node, name):
    weight = graph.constant(name)
    axis = AXIS[node.op_type]
    if axis is None:
        axis = 0 if attribute(node, "transB", 0) else 1
    axis %= weight.ndim
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scale = np.abs(weight).max(axis=others, keepdims=True) / np.float32(127)
    scale = np.where(scale == 0, np.float32(1), scale).astype(np.float32)
    whole = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    inputs = [graph.add_weight(f"{name}/int8", whole), graph.add_weight(f"{name}/scale", scale.reshape(-1))]
    output = graph.fresh(f"{name}/dequantized")
    made = onnx.helper.make_node("DequantizeLinear", inputs, [output], graph.fresh(f"DequantizeLinear:{name}"), axis=axis)
    model.graph.node.insert(0, made)
    return output


def in_blocks(model, keep, block):
    graph = Graph(model)
    taken, left = [], []
    for node in list(model.graph.node):
        if node.op_type != "MatMul" or node.domain != "":
            if chosen.weight_bytes(graph, node) >= chosen.WORTH_BYTES:
                left.append((node.name, node.op_type, "4 bits are for MatMul alone"))
            continue
        why = "the recipe keeps it" if node.name in keep else against(graph, node)
        if why is None and graph.constant(node.input[1]).ndim != 2:
            why = "its weight isn't a matrix"
        if why:
            left.append((node.name, node.op_type, why))
            continue
        blocks(graph, node, block)
        taken.append((node.name, "MatMul"))
    if taken:
        want_domain(model, "com.microsoft")
    Graph(model).clean()
    return taken, left, {}


def blocks(graph, node, block):
    """The node as MatMulNBits: columns in blocks, each with a scale; 0 is 8, as without zero points."""
    name = node.input[1]
    weight = graph.constant(name)
    rows, columns = weight.shape
    count = math.ceil(rows / block)
    padded = np.zeros((columns, count * block), np.float32)
    padded[:, :rows] = weight.T
    parts = padded.reshape(columns, count, block)
    # The number farthest from zero becomes -8, which has no counterpart.
    farthest = np.take_along_axis(parts, np.abs(parts).argmax(axis=2, keepdims=True), 2)[..., 0]
    scale = (farthest / np.float32(-8)).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(scale[..., None] == 0, 0, parts / scale[..., None])
    whole = (np.clip(np.rint(steps), -8, 7) + 8).astype(np.uint8)
    packed = whole[..., 0::2] | (whole[..., 1::2] << 4)
    node.input[1] = graph.add_weight(f"{name}/int4", packed)
    node.input.append(graph.add_weight(f"{name}/scale", scale.reshape(-1)))
    node.op_type, node.domain = "MatMulNBits", "com.microsoft"
    for key, value in (("K", rows), ("N", columns), ("bits", 4), ("block_size", block)):
        node.attribute.append(onnx.helper.make_attribute(key, value))
