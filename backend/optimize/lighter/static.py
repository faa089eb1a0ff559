"""A model, a recipe and ranges enter, the model with Q/DQ nodes leaves: unsigned activations, signed weights, 8 bits
(U8S8).

Signed activations are several times slower on x86, so they are for TensorRT alone (`"for": "tensorrt"`): it wants all zero
points to be zero, biases in floats, and no Q/DQ after a product. ONNX Runtime's quantizer places the nodes; what it breaks
on is led around here.
"""

import numpy as np
import onnx

from . import chosen
from .graph import Graph, attribute, forget_shapes, replace, sort
from .model import opset
from .refusal import Refused, field

FIELDS = ("kind", "ops", "keep", "per_channel", "reduce_range", "for")
TARGETS = ("cpu", "tensorrt")
OLDEST_OPSET = 13

WITH_WEIGHTS = {"Conv", "ConvTranspose", "MatMul", "Gemm", "Gather"}

# Kinds without weights that ONNX Runtime computes in 8 bits, or passes 8 bits through.
WITHOUT = {
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Pad", "Relu",
    "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


def apply(model, recipe, ranges):
    taken, left = choose(model, recipe, ranges)
    if taken:
        _, _, per_channel, reduce_range = chosen.fields(recipe, FIELDS)
        place(model, taken, ranges[0], per_channel, reduce_range, target(recipe))
    return taken, left, {}


def target(recipe):
    return field(recipe, "for", str, "cpu", among=TARGETS)


def taken(model, recipe, ranges):
    """Names and kinds of the nodes that the recipe is for."""
    return choose(model, recipe, ranges)[0]


def choose(model, recipe, ranges):
    ops, keep, _, _ = chosen.fields(recipe, FIELDS)
    if opset(model) < OLDEST_OPSET:
        raise Refused(
            f"static quantization wants opset {OLDEST_OPSET}, the model has {opset(model)}: rewrite it with 'opset' first"
        )
    tensors, without = ranges
    flat_bias(model)

    def why_not(graph, node):
        if node.op_type in WITH_WEIGHTS:
            why = chosen.float_weight(graph, node) or bias_not_flat(graph, node)
            if why:
                return why
        return no_range(graph, node, tensors, without)

    return chosen.nodes(model, ops, keep, WITH_WEIGHTS | WITHOUT, why_not)


def only(model, name, recipe, ranges):
    """The model with that node alone quantized."""
    variant = onnx.ModelProto()
    variant.CopyFrom(model)
    one = [entry for entry in taken(variant, recipe, ranges) if entry[0] == name]
    _, _, per_channel, reduce_range = chosen.fields(recipe, FIELDS)
    place(variant, one, ranges[0], per_channel, reduce_range, target(recipe))
    return variant


def alone(model, node, recipe, ranges):
    """A model of that node alone, quantized: what it reads enters, what it makes leaves."""
    graph = Graph(model)
    types = {value.name: value for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "part"
    part.graph.node.append(node)
    read = [name for name in node.input if name]
    part.graph.initializer.extend(graph.weights[name] for name in dict.fromkeys(read) if name in graph.weights)
    part.graph.input.extend(types[name] for name in dict.fromkeys(read) if name not in graph.weights)
    part.graph.output.extend(types[name] for name in node.output if name in types)
    _, _, per_channel, reduce_range = chosen.fields(recipe, FIELDS)
    place(part, [(node.name, node.op_type)], ranges[0], per_channel, reduce_range, target(recipe))
    return part


def no_range(graph, node, tensors, without):
    for name in (*node.input[:1], *node.output[:1]):
        if name and name not in tensors and name not in graph.weights:
            why = without.get(name)
            if why:
                return f"{name!r} has no range: {why}"
            if node.op_type in WITH_WEIGHTS or is_float(graph, name):
                return f"{name!r} has no range"
    return None


def is_float(graph, name):
    values = (*graph.graph.value_info, *graph.graph.output, *graph.graph.input)
    return any(value.name == name and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for value in values)


def flat_bias(model):
    """Biases of Gemm that are one row, or one number, as vectors: per channel the quantizer breaks on others."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or node.input[2] not in graph.weights:
            continue
        bias, weight = graph.constant(node.input[2]), graph.constant(node.input[1])
        if weight is None or bias.ndim == 1 and bias.size == columns(node, weight):
            continue
        if bias.shape[-1:] and bias.size == bias.shape[-1] or bias.size == 1:
            row = np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (columns(node, weight),)))
            node.input[2] = graph.add_weight(f"{node.input[2]}/row", row)
    Graph(model).clean()


def bias_not_flat(graph, node):
    if (
        node.op_type == "Gemm"
        and len(node.input) > 2
        and node.input[2] in graph.weights
        and len(graph.weights[node.input[2]].dims) != 1
    ):
        return "its bias isn't one row"
    return None


def columns(node, weight):
    return weight.shape[0 if attribute(node, "transB", 0) else 1]


def place(model, taken, tensors, per_channel, reduce_range, target):
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantType, add_infer_metadata

    ranges = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in tensors.items()
    }
    # Types are inferred already; without this it writes the model to a file and infers anew.
    add_infer_metadata(model)
    quantizer = QDQQuantizer(
        model,
        per_channel,
        reduce_range,
        QuantType.QInt8,
        QuantType.QInt8 if target == "tensorrt" else QuantType.QUInt8,
        ranges,
        [name for name, _ in taken],
        [],
        sorted({op for _, op in taken}),
        for_tensorrt() if target == "tensorrt" else for_cpu(),
    )
    quantizer.quantize_model()
    finish(model, quantizer.model.model)
    if target == "tensorrt":
        # Who reads the file may take it at its word that nodes are in order, which ONNX Runtime does not.
        sort(model)


def for_cpu():
    return {
        "WeightSymmetric": True,
        "ActivationSymmetric": False,
        # Where a channel's weights are tiny beside its bias, their scale is widened so that the bias has room in 32 bits.
        "QDQDisableWeightAdjustForInt32Bias": False,
    }


def for_tensorrt():
    return {
        "WeightSymmetric": True,
        "ActivationSymmetric": True,
        "QuantizeBias": False,
        "DedicatedQDQPair": True,
        "OpTypesToExcludeOutputQuantization": sorted(WITH_WEIGHTS),
    }


def finish(model, quantized):
    """Takes the quantizer's model over, without what it left behind."""
    if quantized is not model:
        model.CopyFrom(quantized)
    replace(model.metadata_props, [entry for entry in model.metadata_props if not entry.key.startswith("onnx.infer")])
    forget_shapes(model)
    Graph(model).clean()
