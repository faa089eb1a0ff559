"""A model enters, one that computes in 16-bit floats leaves, with the same inputs and outputs of 32 bits: for TensorRT,
which takes a file's types at their word. On a CPU it is no faster.

ONNX Runtime's own converter does it; it leaves those operators in 32 bits that 16 break.
"""

import math

import onnx

from .graph import Graph, forget_shapes
from .prepare import infer
from .refusal import Refused, known_fields, names, one_line

FIELDS = ("kind", "keep")


def apply(model, recipe, _ranges=None):
    known_fields(recipe, FIELDS)
    keep = names(recipe, "keep", [])
    unknown = set(keep) - {node.name for node in model.graph.node}
    if unknown:
        raise Refused(f"'keep' names {sorted(unknown)[0]!r}, which is no node of the model")
    from onnxruntime.transformers.float16 import convert_float_to_float16

    kinds = {node.name: node.op_type for node in model.graph.node}
    try:
        converted = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True, node_block_list=keep)
    except Exception as error:  # noqa: BLE001
        raise Refused(f"the model doesn't convert to 16 bits: {one_line(error)}") from error
    if converted is not model:
        model.CopyFrom(converted)
    forget_shapes(model)
    Graph(model).clean()
    infer(model)
    return *split(model, kinds, set(keep)), {}


def split(model, kinds, keep):
    """Nodes with weights: those whose weights are of 16 bits now, and others with the reason."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer if math.prod(tensor.dims) > 1}
    taken, left = [], []
    for node in model.graph.node:
        if node.name not in kinds:
            continue
        types = {weights[name].data_type for name in node.input if name in weights}
        if onnx.TensorProto.FLOAT16 in types:
            taken.append((node.name, node.op_type))
        elif onnx.TensorProto.FLOAT in types:
            why = "the recipe keeps it" if node.name in keep else f"the converter leaves {node.op_type} in 32 bits"
            left.append((node.name, node.op_type, why))
    return taken, left
