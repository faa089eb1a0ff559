"""What the tests of the tools stand on: small models, and a verb called as its process is: a job, a reply.

    python -I -B -m unittest discover -s backend/optimize/tests        with the packages of requirements.txt

Verbs run in this process, but for what only a process shows.
"""

import io
import json
import os
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, FOLDER)

from lighter import bounds, verbs  # noqa: E402

FLOAT = TensorProto.FLOAT

set_memory = bounds.set_memory
# The limit is the process', and this one has many tests.
bounds.set_memory = lambda job: None


def node(kind, inputs, outputs, name="", **attributes):
    return helper.make_node(kind, inputs, outputs, name, **attributes)


def model(nodes, inputs, outputs, weights, opset=17, domains=(), types=None):
    """A model; inputs and outputs are name: shape; of floats but where `types` says else."""
    types = types or {}

    def values(shapes):
        return [helper.make_tensor_value_info(name, types.get(name, FLOAT), shape) for name, shape in shapes.items()]

    graph = helper.make_graph(
        nodes,
        "test",
        values(inputs),
        values(outputs),
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, version) for domain, version in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def answers(path, inputs, session=None):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    for entry, value in (session or {}).items():
        settings.add_session_config_entry(entry, value)
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"]).run(None, inputs)


def kinds(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def perceptron(rng, bias_shape=(32,), opset=17):
    """Gemm, Relu, MatMul: 16 to 32 to 4."""
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], "first"),
        node("Relu", ["h"], ["r"], "relu"),
        node("MatMul", ["r", "w2"], ["y"], "second"),
    ]
    weights = {
        "w1": rng.normal(size=(16, 32)).astype(np.float32),
        "b1": rng.normal(size=bias_shape).astype(np.float32),
        "w2": rng.normal(size=(32, 16)).astype(np.float32),
    }
    return model(nodes, {"x": ["n", 16]}, {"y": ["n", 16]}, weights, opset)


class Tools(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.rng = np.random.default_rng(17)

    def path(self, name):
        return os.path.join(self.scratch.name, name)

    def save(self, whole, name="model.onnx"):
        onnx.save(whole, self.path(name))
        return self.path(name)

    def samples(self, entries, name="samples"):
        os.makedirs(self.path(name), exist_ok=True)
        for index, entry in enumerate(entries):
            np.savez(os.path.join(self.path(name), f"{index:06}.npz"), **entry)
        return self.path(name)

    def rows(self, count=16, width=16):
        return [{"x": self.rng.normal(size=(1, width)).astype(np.float32)} for _ in range(count)]

    def call(self, verb, **job):
        return verbs.call([verb], io.BytesIO(json.dumps(job).encode()))

    def good(self, verb, **job):
        reply, status = self.call(verb, **job)
        self.assertEqual(status, 0, reply)
        json.dumps(reply, allow_nan=False)
        return reply

    def refused(self, verb, *words, **job):
        """The one line, which has those words; and nothing is left behind."""
        before = sorted(os.listdir(self.scratch.name))
        reply, status = self.call(verb, **job)
        self.assertEqual(status, 1, reply)
        self.assertEqual(list(reply), ["error"])
        self.assertNotIn("\n", reply["error"])
        for word in words:
            self.assertIn(word, reply["error"])
        self.assertEqual(sorted(os.listdir(self.scratch.name)), before)
        return reply["error"]

    def ranges(self, path, samples, **more):
        self.good("ranges", model=path, samples=samples, out=self.path("ranges.json"), **more)
        return self.path("ranges.json")

    def quantized(self, path, recipe, ranges=None):
        out = self.path("out.onnx")
        return out, self.good("quantize", model=path, out=out, recipe=recipe, ranges=ranges)

    def rewritten(self, whole, pass_):
        path, out = self.save(whole), self.path("rewritten.onnx")
        return out, self.good("rewrite", model=path, out=out, **{"pass": pass_})

    def same(self, path, other, inputs, within=1e-5):
        for want, have in zip(answers(path, inputs), answers(other, inputs), strict=True):
            np.testing.assert_allclose(have, want, rtol=within, atol=within)
