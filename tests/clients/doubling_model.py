"""Writes a model with the signature of identity_fp32 that gives y = x + x.

    python doubling_model.py FILE
"""
import sys

from onnx import TensorProto, helper, save

MATRIX = ("rows", "columns")
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, MATRIX)
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, MATRIX)
graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])
