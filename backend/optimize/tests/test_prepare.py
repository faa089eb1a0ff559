"""What is the same for all recipes: the model prepared, looked into, and profiled."""

import os

import numpy as np
import onnx
from onnx import numpy_helper
from rig import Tools, model, node, perceptron


class Prepare(Tools):
    def test_constants_become_weights_and_nodes_get_names(self):
        weight = numpy_helper.from_array(self.rng.normal(size=(16, 16)).astype(np.float32))
        nodes = [
            node("Constant", [], ["c"], value=weight),
            node("Identity", ["c"], ["w"]),
            node("MatMul", ["x", "w"], ["h"]),
            node("Relu", ["h"], ["y"]),
        ]
        path = self.save(model(nodes, {"x": [1, 16]}, {"y": [1, 16]}, {}))
        self.good("prepare", model=path, out=self.path("out.onnx"))
        whole = onnx.load(self.path("out.onnx"))
        self.assertEqual([one.name for one in whole.graph.node], ["MatMul:h", "Relu:y"])
        self.assertEqual([tensor.name for tensor in whole.graph.initializer], ["w"])
        self.assertEqual([value.name for value in whole.graph.value_info], ["h"])
        self.same(path, self.path("out.onnx"), self.rows(1)[0])

    def test_names_that_two_nodes_share_are_told_apart(self):
        nodes = [node("Relu", ["x"], ["h"], "same"), node("Relu", ["h"], ["y"], "same")]
        self.good("prepare", model=self.save(model(nodes, {"x": [4]}, {"y": [4]}, {})), out=self.path("out.onnx"))
        self.assertEqual([one.name for one in onnx.load(self.path("out.onnx")).graph.node], ["same", "Relu:y"])

    def test_the_same_job_gives_the_same_bytes(self):
        path = self.save(perceptron(self.rng))
        samples = self.samples(self.rows())
        contents = []
        for _ in range(2):
            ranges = self.ranges(path, samples)
            out, _ = self.quantized(path, {"kind": "static", "ops": ["Gemm", "MatMul"], "per_channel": True}, ranges)
            with open(out, "rb") as file, open(ranges, "rb") as other:
                contents.append((file.read(), other.read()))
        self.assertEqual(*contents)

    def test_inspect_says_operators_and_bytes(self):
        reply = self.good("inspect", model=self.save(perceptron(self.rng)))
        self.assertEqual(reply["opset"], 17)
        self.assertEqual(reply["ops"], {"Gemm": 1, "Relu": 1, "MatMul": 1})
        self.assertEqual(reply["weights_bytes"], 4 * (16 * 32 + 32 + 32 * 16))
        self.assertEqual(reply["nodes"][2], {"name": "second", "op": "MatMul", "weights_bytes": 4 * 32 * 16})
        self.assertIsNone(reply["trees"])
        self.assertEqual((reply["ffn"], reply["heads"]), ([{"node": "second", "width": 32}], []))

    def test_profile_says_shares_by_kind_and_by_node(self):
        path = self.save(perceptron(self.rng))
        before = sorted(os.listdir(self.scratch.name))
        samples = self.samples(self.rows(4))
        reply = self.good("profile", model=path, samples=samples, scratch=self.scratch.name, session={})
        self.assertAlmostEqual(sum(reply["by_op"].values()), 1)
        self.assertIn("MatMul", reply["by_op"])
        self.assertLessEqual(reply["by_node"].keys(), {"first", "relu", "second", "fused first", "fused relu"})
        self.assertEqual(sorted(os.listdir(self.scratch.name)), sorted([*before, "samples"]))
