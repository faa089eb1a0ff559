"""A model enters, one that computes in 16-bit floats leaves, with the same inputs and outputs of 32 bits: for TensorRT,
which takes a file's types at their word. On a CPU it is no faster.

ONNX Runtime's own converter does it; it leaves those operators in 32 bits that 16 break. It knows FP16 alone: for BF16 its
types are exchanged, and weights rounded anew from the 32-bit ones.
"""

import math

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from .graph import Graph, forget_shapes, sort
from .model import opset
from .prepare import infer
from .refusal import Refused, field, known_fields, names, one_line

FIELDS = ("kind", "type", "keep")
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}

# Attributes that name an element type.
TYPE_ATTRIBUTES = ("to", "dtype")

# Older operators have no BF16.
OLDEST_BF16 = 13


def apply(model, recipe, _ranges=None):
    known_fields(recipe, FIELDS)
    keep = names(recipe, "keep", [])
    element = TYPES[field(recipe, "type", str, "fp16", among=TYPES)]
    unknown = set(keep) - {node.name for node in model.graph.node}
    if unknown:
        raise Refused(f"'keep' names {sorted(unknown)[0]!r}, which is no node of the model")
    if element == TensorProto.BFLOAT16:
        check_for_bf16(model)
    from onnxruntime.transformers.float16 import convert_float_to_float16

    kinds = {node.name: node.op_type for node in model.graph.node}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in floats(model)}
    try:
        converted = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True, node_block_list=keep)
    except Exception as error:  # noqa: BLE001
        raise Refused(f"the model doesn't convert to 16 bits: {one_line(error)}") from error
    if converted is not model:
        model.CopyFrom(converted)
    if element == TensorProto.BFLOAT16:
        exchange(model, weights)
    forget_shapes(model)
    Graph(model).clean()
    # The converter puts its casts last.
    sort(model)
    infer(model)
    return *split(model, kinds, set(keep), element), {}


def runs_here(recipe):
    """ONNX Runtime has hardly any operator of BF16 on a CPU."""
    return recipe.get("type") != "bf16"


def check(model):
    """What can be said of a model that nothing here runs."""
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # noqa: BLE001
        raise Refused(f"the model would be no valid ONNX: {one_line(error)}") from error


def floats(model):
    return [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]


def check_for_bf16(model):
    if opset(model) < OLDEST_BF16:
        raise Refused(f"BF16 wants opset {OLDEST_BF16}, the model has {opset(model)}: rewrite it with 'opset' first")
    half = TensorProto.FLOAT16
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    if any(value.type.tensor_type.elem_type == half for value in values) or any(
        tensor.data_type == half for tensor in model.graph.initializer
    ):
        raise Refused("the model has FP16 already: BF16 is made of a model of 32-bit floats")


def exchange(model, weights):
    """BF16 in the place of FP16, weights as the 32-bit ones round to it."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            value = weights.get(tensor.name)
            value = numpy_helper.to_array(tensor).astype(np.float32) if value is None else value
            tensor.CopyFrom(numpy_helper.from_array(value.astype(ml_dtypes.bfloat16), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16


def split(model, kinds, keep, element):
    """Nodes with weights: those whose weights are of 16 bits now, and others with the reason."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer if math.prod(tensor.dims) > 1}
    taken, left = [], []
    for node in model.graph.node:
        if node.name not in kinds:
            continue
        types = {weights[name].data_type for name in node.input if name in weights}
        if element in types:
            taken.append((node.name, node.op_type))
        elif TensorProto.FLOAT in types:
            why = "the recipe keeps it" if node.name in keep else f"the converter leaves {node.op_type} in 32 bits"
            left.append((node.name, node.op_type, why))
    return taken, left
