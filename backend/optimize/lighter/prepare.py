"""A model enters, the same model as all recipes want it leaves: weights as initializers, a name for each node, shapes and
types inferred.

No number is changed. Names are made of a node's first output, so they stay the same through rewrites that leave the node
alone.
"""

import numpy as np
import onnx
import onnx.inliner
from onnx import numpy_helper

from .graph import Graph, attribute, replace
from .model import load, opset, save
from .refusal import Refused, field, known_fields, one_line
from .samples import TYPES
from .session import open_, options

# Older operators aren't inferred, quantized or converted by anything here.
OLDEST_OPSET = 7


def run(job):
    known_fields(job, ("model", "out", "memory_bytes"))
    model = load(field(job, "model", str))
    prepare(model)
    save(model, field(job, "out", str))
    return {}


def prepare(model):
    if not OLDEST_OPSET <= opset(model):
        raise Refused(f"the model has opset {opset(model)}; from {OLDEST_OPSET} on it can be made lighter")
    if model.functions:
        inline(model)
    constants_as_weights(model)
    name_nodes(model)
    infer(model)


def inline(model):
    """Puts the nodes of the model's own functions in the place of their calls, where everything can see them."""
    try:
        model.CopyFrom(onnx.inliner.inline_local_functions(model))
    except Exception as error:  # noqa: BLE001
        raise Refused(f"the model's functions can't be inlined: {one_line(error)}") from error


def constants_as_weights(model):
    """Constant nodes as initializers: the quantizers see only those."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    nodes = []
    for node in graph.node:
        tensor = constant(node, weights)
        # An output of the model must stay made by a node.
        if tensor is None or node.output[0] in outputs:
            nodes.append(node)
            continue
        weights[tensor.name] = tensor
        graph.initializer.append(tensor)
    if len(nodes) != len(graph.node):
        # Only now, as Identity of a weight may have been read before.
        replace(graph.node, nodes)
        Graph(model).clean()


def constant(node, weights):
    if node.op_type == "Identity" and node.domain == "" and node.input[0] in weights:
        tensor = onnx.TensorProto()
        tensor.CopyFrom(weights[node.input[0]])
    elif node.op_type == "Constant" and node.domain == "":
        tensor = constant_value(node)
    else:
        return None
    if tensor is not None:
        tensor.name = node.output[0]
    return tensor


def constant_value(node):
    value = attribute(node, "value")
    if value is not None:
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        return tensor
    for name, kind in (
        ("value_float", "float32"),
        ("value_floats", "float32"),
        ("value_int", "int64"),
        ("value_ints", "int64"),
    ):
        value = attribute(node, name)
        if value is not None:
            return numpy_helper.from_array(np.array(value, dtype=kind))
    return None


def name_nodes(model):
    taken = set()
    for node in model.graph.node:
        name = node.name
        if not name or name in taken:
            output = next((output for output in node.output if output), "")
            name = f"{node.op_type}:{output}"
        while name in taken:
            name += "#"
        node.name = name
        taken.add(name)


def infer(model):
    """Fills in the types and shapes that follow; what can't be inferred stays unknown."""
    try:
        known = onnx.shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
    except Exception as error:  # noqa: BLE001
        raise Refused(f"the model's types contradict each other: {one_line(error)}") from error
    values = {value.name: value for value in known.graph.value_info if value.type.tensor_type.elem_type}
    outputs = {value.name for value in model.graph.output}
    made = [output for node in model.graph.node for output in node.output if output and output not in outputs]
    unknown = [name for name in made if name not in values]
    # Operators that ONNX doesn't define, and what follows them.
    values |= asked(model, unknown) if unknown else {}
    replace(model.graph.value_info, [values[name] for name in made if name in values])


def asked(model, names):
    """Types and shapes as ONNX Runtime infers them: it says those of outputs, so all are made outputs."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.value_info[:]
    wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    try:
        found = open_(wide, options(1, "none")).get_outputs()
    except Refused:
        # Optional or sequence types, or a model that doesn't load at all: whoever runs it says so.
        return {}
    kinds = {
        text: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for text, kind in TYPES.items() if kind is not np.object_
    }
    wanted = set(names)
    return {
        value.name: onnx.helper.make_tensor_value_info(value.name, kinds[value.type], value.shape)
        for value in found
        if value.name in wanted and value.type in kinds
    }
