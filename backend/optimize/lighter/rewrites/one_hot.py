"""A MatMul of one-hot rows enters, a Gather leaves: the row of the table that the one stands for.

One-hot rows are `Cast(Equal(indices, 0..n))` as JAX writes them, with or without an Expand of the indices. An index that is
out of 0..n has a row of zeros there, so the table gets one at its end, and such an index is led to it: equal for every
input.
"""

import numpy as np
import onnx

from ..graph import Graph, attribute

INTEGERS = (
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT8,
    onnx.TensorProto.INT16,
    onnx.TensorProto.UINT16,
    onnx.TensorProto.UINT32,
)


def apply(model):
    done = 0
    types = {value.name: value.type.tensor_type for value in (*model.graph.value_info, *model.graph.input)}
    while True:
        graph = Graph(model)
        found = next(filter(None, (match(graph, types, node) for node in model.graph.node)), None)
        if found is None:
            break
        rewrite(graph, *found)
        graph = Graph(model)
        graph.clean()
        done += 1
    return f"{done} products of one-hot rows and a table to Gather" if done else None


def match(graph, types, node):
    """The product, its indices, whether those have a last axis of one, and its table."""
    if node.op_type != "MatMul":
        return None
    table = graph.constant(node.input[1])
    if table is None or table.ndim != 2 or table.dtype != np.float32 or not np.isfinite(table).all():
        return None
    cast = graph.makers.get(node.input[0])
    if cast is None or cast.op_type != "Cast" or attribute(cast, "to") != onnx.TensorProto.FLOAT:
        return None
    equal = graph.makers.get(cast.input[0])
    if equal is None or equal.op_type != "Equal":
        return None
    for index in (0, 1):
        steps = graph.constant(equal.input[1 - index])
        if steps is None or steps.size != table.shape[0] or steps.shape[-1:] != (steps.size,):
            continue
        if not np.array_equal(steps.reshape(-1), np.arange(steps.size)):
            continue
        indices = without_expand(graph, types, equal.input[index], steps)
        if indices:
            return node, indices, table
    return None


def without_expand(graph, types, name, steps):
    """The indices before they are repeated along the last axis, which must have been one."""
    maker = graph.makers.get(name)
    if maker is not None and maker.op_type == "Expand":
        if not only_last(graph, types, maker):
            return None
        name = maker.input[0]
    kind = types.get(name)
    if kind is None or kind.elem_type not in INTEGERS or not kind.HasField("shape"):
        return None
    dims = kind.shape.dim
    return name if len(dims) >= max(2, steps.ndim) and dims[-1].dim_value == 1 else None


def only_last(graph, types, expand):
    """Whether the node repeats along the last axis alone."""
    before, after = types.get(expand.input[0]), types.get(expand.output[0])
    if before is None or not before.HasField("shape") or len(before.shape.dim) < 2:
        return False
    dims = before.shape.dim
    constant = graph.constant(expand.input[1])
    parts = shape_parts(graph, expand.input[1]) if constant is None else [int(entry) for entry in constant]
    if parts is not None and len(parts) == len(dims):
        return all(part_is(graph, expand, *one) for one in zip(range(len(dims) - 1), parts, dims, strict=False))
    if after is None or not after.HasField("shape") or len(after.shape.dim) != len(dims):
        return False
    return all(same_dim(a, b) for a, b in zip(dims[:-1], after.shape.dim[:-1], strict=True))


def same_dim(a, b):
    return a.WhichOneof("value") is not None and a == b


def shape_parts(graph, name):
    """A shape's entries, one each: numbers, or names of what makes them."""
    maker = graph.makers.get(name)
    while maker is not None and maker.op_type in ("Cast", "Identity"):
        maker = graph.makers.get(maker.input[0])
    if maker is None or maker.op_type != "Concat":
        return None
    parts = []
    for input_ in maker.input:
        value = graph.constant(input_)
        if value is not None:
            parts += [int(entry) for entry in value.reshape(-1)]
        else:
            parts.append(input_)
    return parts


def part_is(graph, expand, place, part, dim):
    """Whether that part of the target shape is what the indices have there."""
    if isinstance(part, int):
        return part in (1, dim.dim_value or -1)
    # A batch that is read from the shape of what the indices were reshaped from.
    return place == 0 and first_of_shape(graph, part, expand.input[0])


def first_of_shape(graph, name, source):
    """Whether `name` is the first dimension of what `source` is a reshape of that keeps the first dimension."""
    maker = graph.makers.get(name)
    while maker is not None and maker.op_type in ("Cast", "Slice", "Gather", "Unsqueeze", "Squeeze", "Identity"):
        if maker.op_type in ("Slice", "Gather"):
            start = graph.constant(maker.input[1])
            if start is None or start.size != 1 or int(start.reshape(-1)[0]) != 0:
                return False
        if maker.op_type == "Slice":
            end = graph.constant(maker.input[2])
            if end is None or end.size != 1 or int(end.reshape(-1)[0]) != 1:
                return False
        maker = graph.makers.get(maker.input[0])
    if maker is None or maker.op_type != "Shape":
        return False
    if maker.input[0] == source:
        return True
    reshape = graph.makers.get(source)
    if reshape is None or reshape.input[0] != maker.input[0]:
        return False
    if reshape.op_type == "Unsqueeze":
        axes = graph.constant(reshape.input[1]) if len(reshape.input) > 1 else None
        return axes is not None and all(int(axis) == -1 or int(axis) > 0 for axis in axes.reshape(-1))
    if reshape.op_type != "Reshape" or attribute(reshape, "allowzero", 0):
        return False
    return keeps_first(graph, reshape)


def keeps_first(graph, reshape):
    shape = graph.constant(reshape.input[1])
    if shape is None or shape.size < 1:
        return False
    if int(shape[0]) == 0:
        return True
    # [-1, a, b, 1] keeps the first dimension if a * b is what the others of the input are.
    value = next((value for value in graph.graph.input if value.name == reshape.input[0]), None)
    dims = value.type.tensor_type.shape.dim if value is not None and value.type.tensor_type.HasField("shape") else []
    if int(shape[0]) != -1 or not dims or not all(dim.dim_value > 0 for dim in dims[1:]):
        return False
    return int(np.prod(shape[1:])) == int(np.prod([dim.dim_value for dim in dims[1:]]))


def rewrite(graph, product, indices, table):
    rows = table.shape[0]
    with_zeros = np.concatenate([table, np.zeros((1, table.shape[1]), np.float32)])
    name = product.name
    last = graph.add_weight(f"{name}/last", np.array([-1], np.int64))
    bound = graph.add_weight(f"{name}/rows", np.array(rows, np.int64))
    zero = graph.add_weight(f"{name}/zero", np.array(0, np.int64))
    table_name = graph.add_weight(f"{name}/table", with_zeros)

    def tensor(part):
        return graph.fresh(f"{name}/{part}")

    flat, wide, less, negative, outside, index = map(tensor, ("flat", "wide", "less", "negative", "outside", "index"))
    node = onnx.helper.make_node
    nodes = [
        node("Squeeze", [indices, last], [flat], f"{name}/Squeeze"),
        node("Cast", [flat], [wide], f"{name}/Cast", to=onnx.TensorProto.INT64),
        node("Less", [wide, bound], [less], f"{name}/Less"),
        node("Less", [wide, zero], [negative], f"{name}/Negative"),
        node("Not", [less], [outside], f"{name}/Not"),
        node("Or", [outside, negative], [f"{outside}/or"], f"{name}/Or"),
        node("Where", [f"{outside}/or", bound, wide], [index], f"{name}/Where"),
        node("Gather", [table_name, index], [product.output[0]], name, axis=0),
    ]
    at = list(graph.graph.node).index(product)
    graph.graph.node.remove(product)
    for offset, one in enumerate(nodes):
        graph.graph.node.insert(at + offset, one)
