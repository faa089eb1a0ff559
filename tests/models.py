"""Makes the tiny ONNX models that most tests use, as a Triton-style repository. The same bytes at every run.

    python models.py DIR

identity_<dtype>   x -> y of any two dimensions, for every V2 datatype
add_fp32           a, b -> sum
scalar_fp32        x of shape [] -> y
two_outputs        x -> double, half
uncached           as identity_fp32, without response_cache
picked             x, INT64 -> y, the element of three that each names; others fail in the engine alone
vector_fp32        x of one dimension -> y
scaled             x, factor -> y; factor is [2.0] unless a request says otherwise
scaled_rows        the same, with a factor for each row, or one for all
slow               x -> y, equal to x, after tens of milliseconds of matrix products
products           the same, after as many products as x sums up to: seconds, where something is to be seen meanwhile
"""
import os
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

# V2's datatypes and ONNX's element types for them.
DTYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16, "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8, "INT16": TensorProto.INT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
MATRIX = ("rows", "columns")  # names of free dimensions

# Older than the newest, so that older ONNX Runtimes load them too.
OPSET, IR_VERSION = 17, 8

# `slow`: this many products of two matrices of this size; `products`: of small ones, some microseconds each.
SLOW_SIZE, SLOW_PRODUCTS, SMALL_SIZE = 512, 17, 64


def tensor(name, dtype, shape=MATRIX):
    return helper.make_tensor_value_info(name, DTYPES[dtype], shape)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def constant(name, array):
    return numpy_helper.from_array(array, name)


def slow(side=SLOW_SIZE):
    """y = x + 0 * sum(M^k): products that can't be folded away, for they start from x."""
    size = np.array([side, side], dtype=np.int64)
    nodes = [node("ReduceSum", ["x"], ["sum"], keepdims=0), node("Expand", ["sum", "size"], ["m0"])]
    nodes += [node("MatMul", [f"m{step}", "matrix"], [f"m{step + 1}"]) for step in range(SLOW_PRODUCTS)]
    nodes += [node("ReduceSum", [f"m{SLOW_PRODUCTS}"], ["last"], keepdims=0),
              node("Mul", ["last", "zero"], ["nothing"]), node("Add", ["x", "nothing"], ["y"])]
    matrix = np.full((side, side), 1.0 / side, dtype=np.float32)
    return (nodes, [tensor("x", "FP32")], [tensor("y", "FP32")],
            [constant("size", size), constant("matrix", matrix), constant("zero", np.float32(0.0))])


def products():
    """y = x + 0 * sum(M^k), k = sum(x): a loop of products that start from x."""
    body = helper.make_graph(
        [node("MatMul", ["m", "matrix"], ["m_next"]), node("Identity", ["go"], ["go_on"])], "product",
        [tensor("step", "INT64", ()), tensor("go", "BOOL", ()), tensor("m", "FP32")],
        [tensor("go_on", "BOOL", ()), tensor("m_next", "FP32")])
    nodes, inputs, outputs, constants = slow(SMALL_SIZE)
    count = node("Cast", ["sum"], ["count"], to=TensorProto.INT64)
    loop = node("Loop", ["count", "", "m0"], [f"m{SLOW_PRODUCTS}"], body=body)
    return nodes[:2] + [count, loop] + nodes[-3:], inputs, outputs, constants


def models():
    """Each model's name and its (nodes, inputs, outputs, constants)."""
    for dtype in DTYPES:
        yield f"identity_{dtype.lower()}", ([node("Identity", ["x"], ["y"])], [tensor("x", dtype)], [tensor("y", dtype)], [])
    yield "add_fp32", ([node("Add", ["a", "b"], ["sum"])], [tensor("a", "FP32"), tensor("b", "FP32")],
                       [tensor("sum", "FP32")], [])
    yield "scalar_fp32", ([node("Identity", ["x"], ["y"])], [tensor("x", "FP32", ())], [tensor("y", "FP32", ())], [])
    yield "two_outputs", ([node("Add", ["x", "x"], ["double"]), node("Mul", ["x", "one_half"], ["half"])],
                          [tensor("x", "FP32")], [tensor("double", "FP32"), tensor("half", "FP32")],
                          [constant("one_half", np.float32(0.5))])
    yield "uncached", ([node("Identity", ["x"], ["y"])], [tensor("x", "FP32")], [tensor("y", "FP32")], [])
    yield "picked", ([node("Gather", ["three", "x"], ["y"])], [tensor("x", "INT64")], [tensor("y", "FP32")],
                     [constant("three", np.array([0.5, 1.5, 2.5], dtype=np.float32))])
    yield "vector_fp32", ([node("Identity", ["x"], ["y"])], [tensor("x", "FP32", ("rows",))],
                          [tensor("y", "FP32", ("rows",))], [])
    # An input that is an initializer too has a default.
    for name, shape, default in [("scaled", (1,), [2.0]), ("scaled_rows", ("rows", 1), [[2.0]])]:
        yield name, ([node("Mul", ["x", "factor"], ["y"])], [tensor("x", "FP32"), tensor("factor", "FP32", shape)],
                     [tensor("y", "FP32")], [constant("factor", np.array(default, dtype=np.float32))])
    yield "slow", slow()
    yield "products", products()


def declared(kind, value, constants=()):
    """A tensor as config.pbtxt declares it; an input that is a constant too has a default."""
    names = {number: name for name, number in DTYPES.items()}
    shape = value.type.tensor_type.shape.dim
    dims = ", ".join(str(dim.dim_value or -1) for dim in shape) or "1"
    datatype = names[value.type.tensor_type.elem_type].replace("BYTES", "STRING")
    optional = " optional: true" if any(constant.name == value.name for constant in constants) else ""
    return f'{kind} {{ name: "{value.name}" data_type: TYPE_{datatype} dims: [ {dims} ]{optional} }}'


def config(name, inputs, outputs, constants):
    """Inputs and outputs are listed, so that no batch is guessed of free first dimensions."""
    lines = [f'name: "{name}"', 'platform: "onnxruntime_onnx"']
    lines += [declared("input", value, constants) for value in inputs] + [declared("output", value) for value in outputs]
    if name != "uncached":
        lines += ["response_cache { enable: true }",
                  'parameters { key: "forebay_max_age_s" value { string_value: "60" } }']
    return "\n".join(lines) + "\n"


def write(folder, name, parts):
    nodes, inputs, outputs, constants = parts
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                              producer_name="forebay")
    checker.check_model(model, full_check=True)
    os.makedirs(os.path.join(folder, name, "1"), exist_ok=True)
    with open(os.path.join(folder, name, "1", "model.onnx"), "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    with open(os.path.join(folder, name, "config.pbtxt"), "w") as file:
        file.write(config(name, inputs, outputs, constants))


if __name__ == "__main__":
    for name, parts in models():
        write(sys.argv[1], name, parts)
