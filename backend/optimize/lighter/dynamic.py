"""A model and a recipe enter, the model with 8-bit weights leaves, whose activations are quantized as they come: no
samples are needed.

Convolutions aren't offered: computed so they are several times slower than in 32 bits.
"""

import onnx

from . import chosen
from .graph import Graph, attribute
from .model import opset
from .prepare import infer
from .refusal import Refused
from .static import finish

FIELDS = ("kind", "ops", "keep", "per_channel", "reduce_range")
OPS = {"MatMul", "Gemm", "LSTM", "Gather"}
OLDEST_OPSET = 11


def apply(model, recipe, _ranges=None):
    ops, keep, per_channel, reduce_range = chosen.fields(recipe, FIELDS)
    if opset(model) < OLDEST_OPSET:
        raise Refused(
            f"dynamic quantization wants opset {OLDEST_OPSET}, the model has {opset(model)}: rewrite it with 'opset' first"
        )
    taken, left = chosen.nodes(model, ops, keep, OPS, why_not)
    if taken:
        gemm_as_matmul(model, {name for name, op in taken if op == "Gemm"})
        infer(model)
        place(model, taken, per_channel, reduce_range)
    return taken, left, {}


def why_not(graph, node):
    why = chosen.float_weight(graph, node)
    if why:
        return why
    if node.op_type == "LSTM":
        recurrent = graph.constant(node.input[2])
        if recurrent is None or recurrent.dtype != "float32":
            return "its recurrent weight is not constant"
        if attribute(node, "layout", 0):
            return "its batch comes first, which the quantized LSTM doesn't know"
        if sum(1 for reader in graph.readers[node.input[1]]) > 1 or sum(1 for reader in graph.readers[node.input[2]]) > 1:
            return "another node has the same weight"
    if node.op_type == "Gemm" and not plain(graph, node):
        return "its factors or its transposed input have no quantized form"
    return None


def plain(graph, node):
    weight = graph.constant(node.input[1])
    return (
        weight.ndim == 2
        and attribute(node, "alpha", 1.0) == 1.0
        and attribute(node, "beta", 1.0) == 1.0
        and not attribute(node, "transA", 0)
    )


def gemm_as_matmul(model, names):
    """Those as MatMul and Add: there is no quantized Gemm that takes its input as it comes."""
    graph = Graph(model)
    for node in list(model.graph.node):
        if node.name not in names:
            continue
        if attribute(node, "transB", 0):
            weight = graph.constant(node.input[1])
            node.input[1] = graph.add_weight(f"{node.input[1]}/transposed", weight.T.copy())
        del node.attribute[:]
        node.op_type = "MatMul"
        if len(node.input) > 2 and node.input[2]:
            bias, output = node.input[2], node.output[0]
            node.output[0] = graph.fresh(f"{output}/product")
            added = onnx.helper.make_node("Add", [node.output[0], bias], [output], graph.fresh(f"{node.name}/Add"))
            model.graph.node.insert(list(model.graph.node).index(node) + 1, added)
        del node.input[2:]
    Graph(model).clean()


def place(model, taken, per_channel, reduce_range):
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode, QuantType

    quantizer = ONNXQuantizer(
        model,
        per_channel,
        reduce_range,
        QuantizationMode.IntegerOps,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        None,
        [name for name, _ in taken],
        [],
        sorted({"MatMul" if op == "Gemm" else op for _, op in taken}),
        {"MatMulConstBOnly": True, "WeightSymmetric": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    quantizer.quantize_model()
    finish(model, quantizer.model.model)
