"""Claims of the tools of `forebay optimize`, on small models made here.

    python -I -B backend/optimize/tests/test_tools.py        with the packages of requirements.txt

The tools are called as their process is: a verb, a job on stdin, a reply. In this process, but for what only a process shows.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, FOLDER)

from lighter import verbs  # noqa: E402
from lighter.bounds import set_memory  # noqa: E402

FLOAT = TensorProto.FLOAT

# The limit is the process', and this one has many tests.
verbs.bounds.set_memory = lambda job: None


def node(kind, inputs, outputs, name="", **attributes):
    return helper.make_node(kind, inputs, outputs, name, **attributes)


def model(nodes, inputs, outputs, weights, opset=17, domains=(), types=None):
    """A model; inputs and outputs are name: shape; of floats but where `types` says else."""
    types = types or {}

    def values(shapes):
        return [helper.make_tensor_value_info(name, types.get(name, FLOAT), shape) for name, shape in shapes.items()]

    graph = helper.make_graph(
        nodes, "test", values(inputs), values(outputs), [numpy_helper.from_array(array, name) for name, array in weights.items()]
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
        for want, have in zip(answers(path, inputs), answers(other, inputs)):
            np.testing.assert_allclose(have, want, rtol=within, atol=within)


class Entry(Tools):
    def process(self, *arguments, job=b"{}"):
        program = [sys.executable, "-I", "-B", os.path.join(FOLDER, "tools.py"), *arguments]
        return subprocess.run(program, input=job, capture_output=True, timeout=60, check=False)

    def test_says_the_versions_of_what_changes_a_variant(self):
        done = self.process("versions")
        self.assertEqual(done.returncode, 0, done.stderr)
        reply = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(reply["onnxruntime"], onnxruntime.__version__)
        self.assertLessEqual({"python", "onnx", "numpy", "onnxsim"}, reply.keys())

    def test_a_failure_is_one_line_and_exit_code_one(self):
        done = self.process("inspect", job=b'{"model": "/nowhere/model.onnx"}')
        self.assertEqual(done.returncode, 1)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 1)
        self.assertIn("/nowhere/model.onnx can't be read: No such file", json.loads(lines[0])["error"])

    def test_more_memory_than_the_job_allows_is_one_line(self):
        # Two products of 512 MiB each.
        big = model([node("MatMul", ["x", "x"], ["y"]), node("Exp", ["y"], ["z"])], {"x": ["n", "n"]}, {"z": ["n", "n"]}, {})
        samples = self.samples([{"x": np.zeros((11585, 11585), np.float32)}])
        job = {"model": self.save(big), "samples": samples, "out": self.path("r"), "memory_bytes": 512 << 20}
        done = self.process("ranges", job=json.dumps(job).encode())
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("more memory than it may have", json.loads(done.stdout)["error"])
        self.assertFalse(os.path.exists(self.path("r")))

    def test_jobs_that_are_none_are_refused(self):
        for arguments, text, words in (
            ([], b"{}", "one verb is wanted"),
            (["paint"], b"{}", "one verb is wanted"),
            (["inspect"], b"{", "no JSON"),
            (["inspect"], b"[" * 100_000, "no JSON"),
            (["inspect"], b"[]", "must be a JSON object"),
            (["inspect"], b"{}", "no 'model'"),
            (["inspect"], b'{"model": 3}', "'model' must be a text"),
            (["inspect"], b'{"model": "a", "modle": "b"}', "unknown field 'modle'"),
        ):
            reply, status = verbs.call(arguments, io.BytesIO(text))
            self.assertEqual(status, 1)
            self.assertIn(words, reply["error"])

    def test_memory_below_what_the_libraries_want_is_refused(self):
        with self.assertRaisesRegex(Exception, "at least"):
            set_memory({"memory_bytes": 1})


class Inputs(Tools):
    """Models and samples from outside."""

    def test_damaged_models_are_refused(self):
        whole = perceptron(self.rng).SerializeToString()
        for name, content in {"empty": b"", "text": b"not a model" * 9, "cut": whole[: len(whole) // 2], "zeros": bytes(4096)}.items():
            with open(self.path(name), "wb") as file:
                file.write(content)
            self.refused("prepare", "no ONNX model", model=self.path(name), out=self.path("out"))

    def test_every_cut_of_a_model_is_refused_or_read_in_one_line(self):
        whole = perceptron(self.rng).SerializeToString()
        for end in range(0, len(whole), 97):
            with open(self.path("cut"), "wb") as file:
                file.write(whole[:end])
            reply, _ = self.call("inspect", model=self.path("cut"))
            self.assertNotIn("\n", reply.get("error", ""))

    def external(self, location, **entries):
        whole = perceptron(self.rng)
        tensor = whole.graph.initializer[0]
        content = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=str(value))
        with open(self.path("model.onnx"), "wb") as file:
            file.write(whole.SerializeToString())
        return self.path("model.onnx"), content

    def test_weights_beside_the_model_are_read(self):
        path, content = self.external("weights.bin", offset=8)
        with open(self.path("weights.bin"), "wb") as file:
            file.write(bytes(8) + content)
        self.good("prepare", model=path, out=self.path("out.onnx"))
        self.same(path, self.path("out.onnx"), self.rows(1)[0])

    def test_weights_outside_of_the_models_folder_are_not_read(self):
        os.makedirs(self.path("inner"))
        os.symlink("/etc", self.path("link"))
        for location in ("/etc/passwd", "../passwd", "inner/../../passwd", "link/passwd", ""):
            path, _ = self.external(location)
            self.refused("inspect", "outside of the model's folder", model=path)

    def test_weights_that_are_no_file_or_too_short_are_refused(self):
        path, content = self.external("missing.bin")
        self.refused("inspect", "which is no file", model=path)
        with open(self.path("short.bin"), "wb") as file:
            file.write(content[:9])
        path, _ = self.external("short.bin", length=len(content))
        self.refused("inspect", "ends before", model=path)
        path, _ = self.external("short.bin", offset=-4)
        self.refused("inspect", "as offset or length", model=path)

    def test_samples_that_the_model_does_not_want_are_refused(self):
        path = self.save(perceptron(self.rng))
        good = np.zeros((1, 16), np.float32)
        for number, (entry, words) in enumerate(
            [
                ({"z": good}, "has 'z', which is no input of the model; its inputs are x"),
                ({}, "lacks the input 'x'"),
                ({"x": good.astype(np.float64)}, "as float64, the model wants float32"),
                ({"x": good[0]}, "as 16, the model wants ?x16"),
                ({"x": good[:, :3]}, "as 1x3, the model wants ?x16"),
            ]
        ):
            samples = self.samples([entry], f"samples{number}")
            self.refused("ranges", "000000.npz", words, model=path, samples=samples, out=self.path("r"))

    def test_damaged_samples_are_refused(self):
        path = self.save(perceptron(self.rng))
        file = os.path.join(self.samples(self.rows(1)), "000000.npz")
        with open(file, "rb") as content:
            whole = content.read()
        for damaged in (b"", b"PK", whole[:-30], whole[:200] + b"\xff" * 40 + whole[240:]):
            with open(file, "wb") as content:
                content.write(damaged)
            self.refused("ranges", "000000.npz", model=path, samples=self.path("samples"), out=self.path("r"))

    def test_samples_of_pickled_objects_are_refused(self):
        path = self.save(perceptron(self.rng))
        samples = self.samples([{"x": np.array([{"a": 1}], dtype=object)}])
        self.refused("ranges", "no .npz of plain arrays", model=path, samples=samples, out=self.path("r"))

    def test_a_folder_without_samples_is_refused(self):
        path = self.save(perceptron(self.rng))
        os.makedirs(self.path("none"))
        self.refused("ranges", "no samples", model=path, samples=self.path("none"), out=self.path("r"))
        self.refused("ranges", "can't be read", model=path, samples=self.path("gone"), out=self.path("r"))

    def test_an_operator_that_nobody_knows_is_refused_when_it_is_run(self):
        whole = model([node("Enchant", ["x"], ["y"], domain="magic")], {"x": [1, 4]}, {"y": [1, 4]}, {}, domains=[("magic", 1)])
        path = self.save(whole)
        self.good("prepare", model=path, out=self.path("out.onnx"))
        samples = self.samples(self.rows(1, 4))
        self.refused("ranges", "ONNX Runtime doesn't load the model", model=path, samples=samples, out=self.path("r"))

    def test_a_place_that_can_not_be_written_is_refused(self):
        path = self.save(perceptron(self.rng))
        self.refused("prepare", "can't be written", model=path, out="/nowhere/out.onnx")
        self.refused("quantize", "can't be written", model=path, out="/nowhere/out.onnx", recipe={"kind": "weights", "bits": 8})


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
        self.assertEqual((reply["ffn"], reply["heads"]), ([], []))

    def test_profile_says_shares_by_kind_and_by_node(self):
        path = self.save(perceptron(self.rng))
        before = sorted(os.listdir(self.scratch.name))
        samples = self.samples(self.rows(4))
        reply = self.good("profile", model=path, samples=samples, scratch=self.scratch.name, session={})
        self.assertAlmostEqual(sum(reply["by_op"].values()), 1)
        self.assertIn("MatMul", reply["by_op"])
        self.assertLessEqual(reply["by_node"].keys(), {"first", "relu", "second", "fused first", "fused relu"})
        self.assertEqual(sorted(os.listdir(self.scratch.name)), sorted([*before, "samples"]))


class Rewrites(Tools):
    """Each is equal for all inputs, and says whether it changed anything."""

    def unchanged(self, pass_):
        out, reply = self.rewritten(perceptron(self.rng), pass_)
        self.assertEqual(reply, {"changed": False, "what": "nothing to do"})
        self.assertEqual(kinds(out), ["Gemm", "Relu", "MatMul"])

    def test_a_pass_that_finds_nothing_says_so(self):
        for pass_ in ("opset", "gelu", "layer-norm", "one-hot", "simplify", "fold-batch-norm"):
            self.unchanged(pass_)

    def test_a_pass_that_nobody_knows_is_refused(self):
        path = self.save(perceptron(self.rng))
        self.refused("rewrite", "'pass' must be one of", model=path, out=self.path("out"), **{"pass": "magic"})

    def test_opset_11_becomes_17(self):
        whole = model([node("Softmax", ["x"], ["y"], axis=1)], {"x": [2, 3, 4]}, {"y": [2, 3, 4]}, {}, opset=11)
        out, reply = self.rewritten(whole, "opset")
        self.assertEqual(reply, {"changed": True, "what": "opset 11 to 17"})
        self.same(self.path("model.onnx"), out, {"x": self.rng.normal(size=(2, 3, 4)).astype(np.float32)})

    def test_simplify_computes_what_is_constant(self):
        nodes = [node("Add", ["a", "a"], ["b"]), node("MatMul", ["x", "b"], ["y"])]
        whole = model(nodes, {"x": [1, 16]}, {"y": [1, 4]}, {"a": self.rng.normal(size=(16, 4)).astype(np.float32)})
        out, reply = self.rewritten(whole, "simplify")
        self.assertTrue(reply["changed"])
        self.assertEqual(kinds(out), ["MatMul"])
        self.same(self.path("model.onnx"), out, self.rows(1)[0])

    def folded(self, first, shapes, after, x, opset=17):
        """A node with weights, then what scales its channels: all of it becomes the one node."""
        weights = {name: self.rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        for name in weights:
            if name.startswith(("variance", "divisor")):
                weights[name] = np.abs(weights[name]) + np.float32(0.5)
        whole = model([first, *after], {"x": list(x)}, {"y": [None] * len(x)}, weights, opset)
        out, reply = self.rewritten(whole, "fold-batch-norm")
        self.assertTrue(reply["changed"], reply)
        self.same(self.path("model.onnx"), out, {"x": self.rng.normal(size=x).astype(np.float32)}, 1e-4)
        return [kind for kind in kinds(out) if kind != "Transpose"]

    NORM = {"gamma": (6,), "beta": (6,), "mean": (6,), "variance": (6,)}

    def test_batch_norm_is_folded_into_a_convolution(self):
        after = [node("BatchNormalization", ["h", "gamma", "beta", "mean", "variance"], ["y"], epsilon=1e-3)]
        for first, shapes in (
            (node("Conv", ["x", "w"], ["h"]), {"w": (6, 4, 3, 3)}),
            (node("Conv", ["x", "w", "b"], ["h"], group=2), {"w": (6, 2, 1, 1), "b": (6,)}),
            (node("ConvTranspose", ["x", "w", "b"], ["h"]), {"w": (4, 6, 2, 2), "b": (6,)}),
            (node("ConvTranspose", ["x", "w"], ["h"], group=2), {"w": (4, 3, 2, 2)}),
        ):
            self.assertEqual(self.folded(first, {**shapes, **self.NORM}, after, (2, 4, 8, 8)), [first.op_type])

    def test_scales_after_a_transpose_are_folded(self):
        after = [
            node("Transpose", ["h"], ["t"], perm=[0, 2, 3, 1]),
            node("Sub", ["t", "mean"], ["s"]),
            node("Mul", ["s", "gamma"], ["m"]),
            node("Div", ["m", "divisor"], ["d"]),
            node("Add", ["beta", "d"], ["y"]),
        ]
        shapes = {"w": (6, 4, 3, 3), "mean": (6,), "gamma": (1, 1, 6), "divisor": (6,), "beta": (1, 6)}
        self.assertEqual(self.folded(node("Conv", ["x", "w"], ["h"]), shapes, after, (2, 4, 8, 8)), ["Conv"])

    def test_scales_are_folded_into_gemm_and_matmul(self):
        scale = [node("Mul", ["h", "s"], ["y"])]
        shift = [node("Sub", ["s", "h"], ["y"])]
        first = node("Gemm", ["x", "w", "b"], ["h"], transB=1)
        self.assertEqual(self.folded(first, {"w": (6, 4), "b": (6,), "s": (6,)}, shift, (2, 4)), ["Gemm"])
        self.assertEqual(self.folded(node("MatMul", ["x", "w"], ["h"]), {"w": (4, 6), "s": (1, 6)}, scale, (2, 4)), ["MatMul"])

    def test_what_scales_other_than_channels_or_is_read_by_others_is_left(self):
        weights = {"w": self.rng.normal(size=(6, 4, 3, 3)).astype(np.float32), "s": self.rng.normal(size=(6,)).astype(np.float32)}
        conv = node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1])
        rows = model([conv, node("Mul", ["h", "s"], ["y"])], {"x": [1, 4, 6, 6]}, {"y": [1, 6, 6, 6]}, weights)
        self.assertFalse(self.rewritten(rows, "fold-batch-norm")[1]["changed"])
        weights["s"] = weights["s"].reshape(6, 1, 1)
        two = model([conv, node("Mul", ["h", "s"], ["y"])], {"x": [1, 4, 6, 6]}, {"y": [1, 6, 6, 6], "h": [1, 6, 6, 6]}, weights)
        self.assertFalse(self.rewritten(two, "fold-batch-norm")[1]["changed"])
        divided = model([conv, node("Div", ["s", "h"], ["y"])], {"x": [1, 4, 6, 6]}, {"y": [1, 6, 6, 6]}, weights)
        self.assertFalse(self.rewritten(divided, "fold-batch-norm")[1]["changed"])

    def test_a_weight_of_two_convolutions_is_scaled_for_one(self):
        weights = {"w": self.rng.normal(size=(4, 4, 1, 1)).astype(np.float32), "s": self.rng.normal(size=(4, 1, 1)).astype(np.float32)}
        nodes = [
            node("Conv", ["x", "w"], ["a"]),
            node("Mul", ["a", "s"], ["b"]),
            node("Conv", ["x", "w"], ["c"]),
            node("Max", ["b", "c"], ["y"]),
        ]
        out, reply = self.rewritten(model(nodes, {"x": [1, 4, 3, 3]}, {"y": [1, 4, 3, 3]}, weights), "fold-batch-norm")
        self.assertTrue(reply["changed"])
        self.same(self.path("model.onnx"), out, {"x": self.rng.normal(size=(1, 4, 3, 3)).astype(np.float32)})

    def one_hot(self, steps=9, kind=TensorProto.INT32, expand=True, row=None):
        """As JAX writes it: Reshape, Expand, Equal, Cast, MatMul."""
        nodes = [node("Reshape", ["x", "column"], ["i"])]
        if expand:
            nodes += [
                node("Shape", ["x"], ["shape"]),
                node("Slice", ["shape", "zero", "one", "zero"], ["batch"]),
                node("Concat", ["batch", "five", "steps"], ["target"], axis=0),
                node("Expand", ["i", "target"], ["e"]),
            ]
        nodes += [
            node("Equal", ["e" if expand else "i", "row"], ["hot"]),
            node("Cast", ["hot"], ["float"], to=FLOAT),
            node("MatMul", ["float", "table"], ["y"], "product"),
        ]
        integers = np.int32 if kind == TensorProto.INT32 else np.int64
        weights = {
            "column": np.array([-1, 5, 1], np.int64),
            "row": (np.arange(steps) if row is None else row).astype(integers).reshape(1, 1, -1),
            "table": self.rng.normal(size=(steps, 3)).astype(np.float32),
        }
        if expand:
            weights |= {name: np.array([value], np.int64) for name, value in {"zero": 0, "one": 1, "five": 5, "steps": steps}.items()}
        return model(nodes, {"x": ["n", 5]}, {"y": ["n", 5, 3]}, weights, types={"x": kind})

    def test_a_one_hot_product_becomes_a_gather_also_for_indices_outside(self):
        for kind, dtype in ((TensorProto.INT32, np.int32), (TensorProto.INT64, np.int64)):
            for expand in (True, False):
                out, reply = self.rewritten(self.one_hot(kind=kind, expand=expand), "one-hot")
                self.assertTrue(reply["changed"], (kind, expand))
                self.assertNotIn("MatMul", kinds(out))
                inputs = {"x": np.array([[0, 1, 8, 9, -1], [-9, 2**31 - 1, -(2**31), 3, 4]], dtype)}
                np.testing.assert_array_equal(answers(self.path("model.onnx"), inputs)[0], answers(out, inputs)[0])

    def test_rows_that_are_not_one_hot_in_order_are_left(self):
        for row in (np.arange(9)[::-1].copy(), np.arange(9) + 1, np.zeros(9)):
            out, reply = self.rewritten(self.one_hot(row=row), "one-hot")
            self.assertFalse(reply["changed"])
            self.assertIn("MatMul", kinds(out))

    GELUS = {
        "torch": (
            [("Div", "x", "root"), ("Erf", 0), ("Add", 1, "one"), ("Mul", "x", 2), ("Mul", 3, "half")],
            {"root": 2**0.5, "one": 1, "half": 0.5},
        ),
        "half first": (
            [("Mul", "x", "half"), ("Mul", "x", "inverse"), ("Erf", 1), ("Add", "one", 2), ("Mul", 0, 3)],
            {"half": 0.5, "inverse": 0.5**0.5, "one": 1},
        ),
        "tanh": (
            [("Mul", "x", "x"), ("Mul", 0, "x"), ("Mul", "cubic", 1), ("Add", "x", 2), ("Mul", "scale", 3), ("Tanh", 4), ("Add", 5, "one"),
             ("Mul", 6, "half"), ("Mul", "x", 7)],
            {"cubic": 0.044715, "scale": (2 / np.pi) ** 0.5, "one": 1, "half": 0.5},
        ),
        "tanh by power": (
            [("Pow", "x", "three"), ("Mul", 0, "cubic"), ("Add", 1, "x"), ("Mul", 2, "scale"), ("Tanh", 3), ("Add", "one", 4),
             ("Mul", "x", "half"), ("Mul", 6, 5)],
            {"three": 3, "cubic": 0.044715, "scale": (2 / np.pi) ** 0.5, "one": 1, "half": 0.5},
        ),
    }  # fmt: skip

    def activation(self, steps, numbers, shape=(), opset=17):
        """Between two products, as in a model."""
        def name(of):
            return of if isinstance(of, str) else f"s{of}"

        nodes = [node("MatMul", ["in", "w"], ["x"])]
        for index, (kind, *inputs) in enumerate(steps):
            nodes.append(node(kind, [name(of) for of in inputs], [f"s{index}"]))
        nodes.append(node("MatMul", [nodes[-1].output[0], "w"], ["y"]))
        weights = {name: np.full(shape, value, np.float32) for name, value in numbers.items()}
        weights["w"] = self.rng.normal(size=(16, 16)).astype(np.float32)
        return model(nodes, {"in": [2, 16]}, {"y": [2, 16]}, weights, opset)

    def test_gelu_is_known_however_it_is_written(self):
        for form, (steps, numbers) in self.GELUS.items():
            for shape in ((), (1,), (1, 1)):
                for opset in (17, 20):
                    out, reply = self.rewritten(self.activation(steps, numbers, shape, opset), "gelu")
                    self.assertTrue(reply["changed"], (form, shape, opset))
                    wanted = "FastGelu" if "tanh" in form and opset < 20 else "Gelu"
                    self.assertEqual(kinds(out), ["MatMul", wanted, "MatMul"])
                    inputs = {"in": self.rng.normal(size=(2, 16)).astype(np.float32)}
                    self.same(self.path("model.onnx"), out, inputs, 1e-4)

    def test_what_is_nearly_gelu_is_left(self):
        for change in ({"cubic": 0.05}, {"one": 1.01}, {"half": 0.6}):
            steps, numbers = self.GELUS["tanh"]
            self.assertFalse(self.rewritten(self.activation(steps, {**numbers, **change}), "gelu")[1]["changed"], change)

    def test_gelu_whose_inside_is_read_by_others_is_left(self):
        steps, numbers = self.GELUS["torch"]
        whole = self.activation(steps, numbers)
        whole.graph.output.append(helper.make_tensor_value_info("s1", FLOAT, [2, 16]))
        self.assertFalse(self.rewritten(whole, "gelu")[1]["changed"])

    def test_layer_norm_is_known_and_fused(self):
        for square in (node("Pow", ["d", "two"], ["q"]), node("Mul", ["d", "d"], ["q"])):
            for divide in (
                [node("Div", ["d", "r"], ["z"])],
                [node("Reciprocal", ["r"], ["i"]), node("Mul", ["i", "d"], ["z"])],
            ):
                nodes = [
                    node("ReduceMean", ["x"], ["m"], axes=[-1]),
                    node("Sub", ["x", "m"], ["d"]),
                    square,
                    node("ReduceMean", ["q"], ["v"], axes=[2]),
                    node("Add", ["v", "epsilon"], ["e"]),
                    node("Sqrt", ["e"], ["r"]),
                    *divide,
                    node("Mul", ["z", "scale"], ["s"]),
                    node("Add", ["s", "bias"], ["y"]),
                ]
                weights = {"two": np.float32(2), "epsilon": np.float32(1e-5)}
                weights |= {name: self.rng.normal(size=16).astype(np.float32) for name in ("scale", "bias")}
                out, reply = self.rewritten(model(nodes, {"x": [2, 3, 16]}, {"y": [2, 3, 16]}, weights), "layer-norm")
                self.assertTrue(reply["changed"])
                self.assertEqual(kinds(out), ["LayerNormalization"])
                self.same(self.path("model.onnx"), out, {"x": self.rng.normal(size=(2, 3, 16)).astype(np.float32)}, 1e-4)


class Ranges(Tools):
    def read(self):
        with open(self.path("ranges.json"), encoding="utf-8") as file:
            return json.load(file)

    def test_least_and_greatest_are_of_all_samples(self):
        rows = self.rows()
        self.ranges(self.save(perceptron(self.rng)), self.samples(rows))
        content = self.read()
        values = np.concatenate([row["x"] for row in rows])
        np.testing.assert_allclose(content["tensors"]["x"], [values.min(), values.max()], rtol=1e-6)
        self.assertEqual(set(content["tensors"]), {"x", "h", "r", "y"})
        self.assertEqual(content["tensors"]["r"][0], 0)

    def test_percentile_and_entropy_cut_what_is_rare(self):
        rows = [{"x": self.rng.normal(size=(64, 16)).astype(np.float32)} for _ in range(8)]
        rows[3]["x"][0, 0] = 1000
        path, samples = self.save(perceptron(self.rng)), self.samples(rows)
        for method in ("percentile", "entropy"):
            self.ranges(path, samples, method=method, percentile=99)
            least, greatest = self.read()["tensors"]["x"]
            self.assertLess(greatest, 600, method)
            self.assertLess(least, 0)
            self.assertLessEqual(self.read()["tensors"]["x"][1], 1000)

    def test_histograms_in_chunks_are_those_of_all_at_once(self):
        from lighter import ranges

        path, samples = self.save(perceptron(self.rng)), self.samples(self.rows())
        self.ranges(path, samples, method="percentile", percentile=90)
        whole = self.read()
        before, ranges.CHUNK_BYTES = ranges.CHUNK_BYTES, 1
        try:
            self.ranges(path, samples, method="percentile", percentile=90)
        finally:
            ranges.CHUNK_BYTES = before
        self.assertEqual(self.read(), whole)

    def test_a_tensor_that_is_infinite_or_no_number_has_no_range_and_its_node_stays(self):
        nodes = [node("Log", ["x"], ["l"]), node("MatMul", ["l", "w"], ["h"], "one"), node("MatMul", ["x", "w"], ["y"], "two")]
        weights = {"w": self.rng.normal(size=(16, 16)).astype(np.float32)}
        path = self.save(model(nodes, {"x": [1, 16]}, {"h": [1, 16], "y": [1, 16]}, weights))
        ranges = self.ranges(path, self.samples(self.rows()))
        _, reply = self.quantized(path, {"kind": "static", "ops": ["MatMul"]}, ranges)
        self.assertEqual(reply["quantized"], {"MatMul": 1})
        self.assertIn("infinite or no number", reply["left"][0]["why"])
        self.assertEqual(reply["left"][0]["node"], "one")

    def test_ranges_of_another_model_are_refused(self):
        other = perceptron(self.rng)
        for one in other.graph.node:
            one.output[0] += "'"
            one.input[0] += "" if one.input[0] == "x" else "'"
        other.graph.output[0].name = "y'"
        ranges = self.ranges(self.save(other, "other.onnx"), self.samples(self.rows()))
        path = self.save(perceptron(self.rng))
        recipe = {"kind": "static", "ops": ["MatMul"]}
        self.refused("quantize", "has no range", model=path, out=self.path("out"), recipe=recipe, ranges=ranges)

    def test_a_damaged_file_of_ranges_is_refused(self):
        path = self.save(perceptron(self.rng))
        for content in (b"", b"[]", b'{"tensors": {"x": [1]}, "left": {}}', b'{"tensors": {"x": [1, -1]}, "left": {}}', b"\xff"):
            with open(self.path("ranges.json"), "wb") as file:
                file.write(content)
            recipe = {"kind": "static", "ops": ["MatMul"]}
            self.refused("quantize", "no file of ranges", model=path, out=self.path("out"), recipe=recipe, ranges=self.path("ranges.json"))

    def test_the_node_that_loses_most_comes_first(self):
        # The first product's weights differ by a factor of a million, so steps of one size lose the small ones.
        whole = perceptron(self.rng)
        weight = self.rng.normal(size=(16, 32)).astype(np.float32)
        weight[0] *= 1e6
        whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
        rows = self.rows()
        for row in rows:
            row["x"][0, 0] = 0
        path, samples = self.save(whole), self.samples(rows)
        ranges = self.ranges(path, samples)
        for by in ("node", "output"):
            reply = self.good(
                "sensitivity", model=path, samples=samples, ranges=ranges, by=by, recipe={"kind": "static", "ops": ["Gemm", "MatMul"]}
            )
            self.assertEqual([name for name, _ in reply["nodes"]], ["first", "second"], by)
            self.assertGreater(reply["nodes"][0][1], 10 * reply["nodes"][1][1])


class Quantize(Tools):
    """Each recipe: what it makes loads, is smaller, and answers nearly the same."""

    def near(self, path, out, inputs, session=None, within=0.1):
        for want, have in zip(answers(path, inputs), answers(out, inputs, session)):
            self.assertLess(np.abs(want - have).max(), within * np.abs(want).max())

    def of_perceptron(self, recipe, shape=(32,), within=0.1):
        if recipe["kind"] in ("static", "dynamic"):
            # Sums of 16 bits saturate on a CPU without VNNI; of weights of 7 bits they don't, so the answers are the same on all.
            recipe = {"reduce_range": True, **recipe}
        whole = perceptron(self.rng, shape)
        rows = self.rows()
        path, samples = self.save(whole), self.samples(rows)
        ranges = self.ranges(path, samples) if recipe["kind"] in ("static", "hybrid") else None
        out, reply = self.quantized(path, recipe, ranges)
        self.near(path, out, rows[0], reply["session"], within)
        return out, reply

    def test_static_has_unsigned_activations_and_signed_weights(self):
        for per_channel in (False, True):
            out, reply = self.of_perceptron({"kind": "static", "ops": ["Gemm", "MatMul"], "per_channel": per_channel})
            self.assertEqual(reply, {"quantized": {"Gemm": 1, "MatMul": 1}, "left": [], "session": {}})
            whole = onnx.load(out)
            zeros = {tensor.name: tensor.data_type for tensor in whole.graph.initializer if tensor.name.endswith("zero_point")}
            self.assertEqual(zeros["x_zero_point"], TensorProto.UINT8)
            self.assertEqual(zeros["w1_zero_point"], TensorProto.INT8)

    def test_static_per_channel_works_with_a_gemm_bias_of_two_dimensions(self):
        for shape in ((1, 32), (32,), (1,), ()):
            _, reply = self.of_perceptron({"kind": "static", "ops": ["Gemm"], "per_channel": True}, shape)
            self.assertEqual(reply["quantized"], {"Gemm": 1})

    def test_a_bias_of_a_channel_with_tiny_weights_is_kept(self):
        whole = perceptron(self.rng)
        weight = self.rng.normal(size=(16, 32)).astype(np.float32)
        weight[:, 3] = 1e-12
        whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
        bias = np.zeros(32, np.float32)
        bias[3] = 100
        whole.graph.initializer[1].CopyFrom(numpy_helper.from_array(bias, "b1"))
        rows = self.rows()
        path = self.save(whole)
        recipe = {"kind": "static", "ops": ["Gemm"], "per_channel": True, "reduce_range": True}
        out, _ = self.quantized(path, recipe, self.ranges(path, self.samples(rows)))
        self.near(path, out, rows[0])

    def test_static_sees_weights_that_are_constants(self):
        weight = numpy_helper.from_array(self.rng.normal(size=(16, 16)).astype(np.float32))
        nodes = [node("Constant", [], ["w"], value=weight), node("MatMul", ["x", "w"], ["y"])]
        path = self.save(model(nodes, {"x": [1, 16]}, {"y": [1, 16]}, {}))
        recipe = {"kind": "static", "ops": ["MatMul"], "per_channel": True}
        _, reply = self.quantized(path, recipe, self.ranges(path, self.samples(self.rows())))
        self.assertEqual(reply["quantized"], {"MatMul": 1})

    def test_static_of_convolutions_leaves_what_is_kept(self):
        nodes = [node("Conv", ["x", "w"], ["h"], "one"), node("Relu", ["h"], ["r"]), node("Conv", ["r", "w", "b"], ["y"], "two")]
        weights = {"w": self.rng.normal(size=(8, 8, 3, 3)).astype(np.float32), "b": np.ones(8, np.float32)}
        path = self.save(model(nodes, {"x": [1, 8, 9, 9]}, {"y": [1, 8, 5, 5]}, weights))
        inputs = [{"x": self.rng.normal(size=(1, 8, 9, 9)).astype(np.float32)} for _ in range(8)]
        ranges = self.ranges(path, self.samples(inputs))
        recipe = {"kind": "static", "ops": ["Conv"], "keep": ["one"], "per_channel": True, "reduce_range": True}
        out, reply = self.quantized(path, recipe, ranges)
        self.assertEqual(reply["quantized"], {"Conv": 1})
        self.assertEqual(reply["left"], [{"node": "one", "op": "Conv", "why": "the recipe keeps it"}])
        self.near(path, out, inputs[0])

    def test_a_product_of_two_activations_is_left(self):
        nodes = [node("MatMul", ["x", "w"], ["h"], "weights"), node("MatMul", ["h", "h"], ["y"], "activations")]
        weights = {"w": self.rng.normal(size=(16, 16)).astype(np.float32)}
        path = self.save(model(nodes, {"x": [16, 16]}, {"y": [16, 16]}, weights))
        rows = [{"x": self.rng.normal(size=(16, 16)).astype(np.float32)}]
        recipe = {"kind": "static", "ops": ["MatMul"]}
        _, reply = self.quantized(path, recipe, self.ranges(path, self.samples(rows)))
        self.assertEqual(reply["left"], [{"node": "activations", "op": "MatMul", "why": "it has no constant weight"}])

    def test_a_gather_of_one_number_from_a_range_is_not_broken(self):
        nodes = [
            node("Range", ["zero", "four", "one"], ["steps"]),
            node("Gather", ["steps", "two"], ["step"]),
            node("Cast", ["step"], ["float"], to=FLOAT),
            node("MatMul", ["x", "w"], ["h"]),
            node("Mul", ["h", "float"], ["y"]),
        ]
        weights = {name: np.array(value, np.int64) for name, value in {"zero": 0, "four": 4, "one": 1, "two": 2}.items()}
        weights["w"] = self.rng.normal(size=(16, 16)).astype(np.float32)
        path = self.save(model(nodes, {"x": [1, 16]}, {"y": [1, 16]}, weights))
        for kind in ("static", "dynamic"):
            recipe = {"kind": kind, "ops": ["MatMul", "Gather"], "reduce_range": True}
            rows = self.rows()
            out, _ = self.quantized(path, recipe, self.ranges(path, self.samples(rows)))
            self.near(path, out, rows[0])

    def test_gelu_that_was_fused_before_stays_fused(self):
        steps, numbers = Rewrites.GELUS["torch"]
        out, _ = self.rewritten(Rewrites.activation(self, steps, numbers), "gelu")
        samples = self.samples([{"in": self.rng.normal(size=(2, 16)).astype(np.float32)} for _ in range(8)])
        ranges = self.ranges(out, samples)
        variant, reply = self.quantized(out, {"kind": "static", "ops": ["MatMul"], "per_channel": True}, ranges)
        self.assertEqual(reply["quantized"], {"MatMul": 2})
        self.assertIn("Gelu", kinds(variant))

    def test_dynamic_is_of_matmul_and_gemm(self):
        for per_channel in (False, True):
            out, reply = self.of_perceptron({"kind": "dynamic", "ops": ["Gemm", "MatMul"], "per_channel": per_channel})
            self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
            self.assertEqual(kinds(out).count("MatMulInteger"), 2)

    def test_dynamic_leaves_a_gemm_that_is_kept(self):
        out, reply = self.of_perceptron({"kind": "dynamic", "ops": ["Gemm", "MatMul"], "keep": ["first"]})
        self.assertEqual(reply["quantized"], {"MatMul": 1})
        self.assertEqual(kinds(out).count("MatMulInteger"), 1)
        self.assertEqual(reply["left"], [{"node": "first", "op": "Gemm", "why": "the recipe keeps it"}])

    def recurrent(self):
        nodes = [
            node("Conv", ["x", "k"], ["c"], "conv"),
            node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
            node("LSTM", ["t", "w", "r", "b"], ["", "h"], "lstm", hidden_size=8),
            node("Squeeze", ["h", "axis"], ["y"]),
        ]
        shapes = {"k": (8, 4, 3), "w": (1, 32, 8), "r": (1, 32, 8), "b": (1, 64)}
        weights = {name: self.rng.normal(size=shape).astype(np.float32) * np.float32(0.3) for name, shape in shapes.items()}
        weights["axis"] = np.array([0], np.int64)
        samples = [{"x": self.rng.normal(size=(1, 4, 12)).astype(np.float32)} for _ in range(8)]
        return self.save(model(nodes, {"x": [1, 4, 12]}, {"y": [1, 8]}, weights)), samples

    def test_a_hybrid_has_static_convolutions_and_a_dynamic_lstm(self):
        path, samples = self.recurrent()
        ranges = self.ranges(path, self.samples(samples))
        for per_channel in (False, True):
            half = {"per_channel": per_channel, "reduce_range": True}
            recipe = {"kind": "hybrid", "static": {"ops": ["Conv"], **half}, "dynamic": {"ops": ["LSTM"], **half}}
            out, reply = self.quantized(path, recipe, ranges)
            self.assertEqual(reply, {"quantized": {"Conv": 1, "LSTM": 1}, "left": [], "session": {}})
            self.assertIn("DynamicQuantizeLSTM", kinds(out))
            self.near(path, out, samples[0])

    def test_a_kind_in_both_halves_of_a_hybrid_is_refused(self):
        path, samples = self.recurrent()
        recipe = {"kind": "hybrid", "static": {"ops": ["MatMul"]}, "dynamic": {"ops": ["MatMul"]}}
        ranges = self.ranges(path, self.samples(samples))
        self.refused("quantize", "both in the static and", model=path, out=self.path("out"), recipe=recipe, ranges=ranges)

    def test_weights_in_8_bits_say_the_session_entry_they_want(self):
        out, reply = self.of_perceptron({"kind": "weights", "bits": 8}, within=0.02)
        self.assertEqual(reply["session"], {"session.disable_quant_qdq": "1"})
        self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
        self.assertLess(os.path.getsize(out), os.path.getsize(self.path("model.onnx")) / 2)

    def test_weights_in_8_bits_are_of_convolutions_tables_and_lstms_too(self):
        path, samples = self.recurrent()
        out, reply = self.quantized(path, {"kind": "weights", "bits": 8})
        self.assertEqual(reply["left"], [{"node": "conv", "op": "Conv", "why": "its weight has fewer than 256 numbers"}])
        self.near(path, out, samples[0], reply["session"], 0.02)

    def test_weights_in_4_bits_are_in_blocks(self):
        for block in (16, 32, 64):
            recipe = {"kind": "weights", "bits": 4, "block": block}
            out, reply = self.of_perceptron(recipe, within=0.3)
            self.assertEqual(reply["quantized"], {"MatMul": 1})
            self.assertIn("MatMulNBits", kinds(out))

    def test_storage_is_16_bits_in_the_file_and_32_in_the_sum(self):
        for kind, within in (("fp16", 0.002), ("bf16", 0.02)):
            out, reply = self.of_perceptron({"kind": "storage", "type": kind}, within=within)
            self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
            self.assertLess(os.path.getsize(out), os.path.getsize(self.path("model.onnx")) * 0.7)

    def test_weights_that_fp16_can_not_hold_are_left(self):
        whole = perceptron(self.rng)
        weight = self.rng.normal(size=(16, 32)).astype(np.float32)
        weight[0, 0] = 1e6
        whole.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
        path = self.save(whole)
        _, reply = self.quantized(path, {"kind": "storage", "type": "fp16"})
        self.assertEqual(reply["left"], [{"node": "first", "op": "Gemm", "why": "its weight has numbers that 16 bits can't hold"}])
        self.assertEqual(self.quantized(path, {"kind": "storage", "type": "bf16"})[1]["left"], [])

    def test_static_for_tensorrt_has_zero_points_of_zero_and_biases_in_floats(self):
        recipe = {"kind": "static", "ops": ["Gemm", "MatMul"], "per_channel": True, "for": "tensorrt"}
        out, reply = self.of_perceptron(recipe, within=0.3)
        self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
        whole = onnx.load(out)
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
        for one in whole.graph.node:
            if one.op_type in ("QuantizeLinear", "DequantizeLinear"):
                zero = weights[one.input[2]]
                self.assertEqual((zero.dtype, zero.any()), (np.int8, False))
        self.assertEqual(weights["b1"].dtype, np.float32)

    def test_half_computes_in_16_bits_between_inputs_and_outputs_of_32(self):
        out, reply = self.of_perceptron({"kind": "half"}, within=0.01)
        self.assertEqual(reply["quantized"], {"Gemm": 1, "MatMul": 1})
        whole = onnx.load(out)
        self.assertEqual(whole.graph.input[0].type.tensor_type.elem_type, FLOAT)
        self.assertTrue(all(tensor.data_type == TensorProto.FLOAT16 for tensor in whole.graph.initializer))
        out, reply = self.of_perceptron({"kind": "half", "keep": ["first"]}, within=0.01)
        self.assertEqual(reply["left"], [{"node": "first", "op": "Gemm", "why": "the recipe keeps it"}])

    def test_recipes_can_follow_each_other(self):
        path, samples = self.recurrent()
        ranges = self.ranges(path, self.samples(samples))
        out, _ = self.quantized(path, {"kind": "static", "ops": ["Conv"], "per_channel": True, "reduce_range": True}, ranges)
        after = self.path("after.onnx")
        self.good("quantize", model=out, out=after, recipe={"kind": "storage", "type": "fp16"})
        self.near(path, after, samples[0])
        self.assertLess(os.path.getsize(after), os.path.getsize(out))

    def test_recipes_that_are_none_are_refused(self):
        path = self.save(perceptron(self.rng))
        ranges = self.ranges(path, self.samples(self.rows()))
        for recipe, words in (
            ({"kind": "magic"}, "'kind' must be one of static"),
            ({"kind": "static"}, "no 'ops'"),
            ({"kind": "static", "ops": ["LSTM"]}, "no such quantization of LSTM"),
            ({"kind": "dynamic", "ops": ["Conv"]}, "no such quantization of Conv"),
            ({"kind": "static", "ops": ["MatMul"], "keep": ["nobody"]}, "'nobody', which is no node of the model"),
            ({"kind": "static", "ops": ["MatMul"], "per_channel": 1}, "'per_channel' must be true or false"),
            ({"kind": "static", "ops": ["MatMul"], "speed": 9}, "no field 'speed'"),
            ({"kind": "static", "ops": ["Conv"]}, "no node that the recipe is for"),
            ({"kind": "weights", "bits": 3}, "'bits' must be one of 8, 4"),
            ({"kind": "storage", "type": "fp8"}, "'type' must be one of fp16, bf16"),
        ):
            self.refused("quantize", words, model=path, out=self.path("out"), recipe=recipe, ranges=ranges)
        self.refused("quantize", "wants 'ranges'", model=path, out=self.path("out"), recipe={"kind": "static", "ops": ["MatMul"]})

    def test_an_old_opset_is_refused_with_what_to_do(self):
        path = self.save(perceptron(self.rng, opset=11))
        ranges = self.ranges(path, self.samples(self.rows()))
        recipe = {"kind": "static", "ops": ["MatMul"]}
        self.refused("quantize", "rewrite it with 'opset' first", model=path, out=self.path("out"), recipe=recipe, ranges=ranges)


def ensemble(rng, trees=12, classes=3, depth=3, votes=True, kind="TreeEnsembleClassifier"):
    """Trees of that depth over four features; leaves vote (weights sum to one tree's share) or add."""
    lists = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    first_leaf, last = 2**depth - 1, 2 ** (depth + 1) - 1
    for tree in range(trees):
        for index in range(last):
            inner = index < first_leaf
            entry = (tree, index, int(rng.integers(4)) if inner else 0, "BRANCH_LEQ" if inner else "LEAF",
                     float(rng.normal()) if inner else 0.0, 2 * index + 1 if inner else 0, 2 * index + 2 if inner else 0)  # fmt: skip
            for name, value in zip(lists, entry):
                lists[name].append(value)
            if not inner:
                # Later trees matter less, as in boosting.
                weights = rng.dirichlet(np.ones(classes)) / trees if votes else rng.normal(size=classes) * 0.6**tree
                for output in range(classes):
                    for name, value in zip(leaves, (tree, index, output, float(weights[output]))):
                        leaves[name].append(value)
    attributes = {f"nodes_{name}": value for name, value in lists.items()}
    group = "class" if kind == "TreeEnsembleClassifier" else "target"
    attributes |= {f"{group}_{name}": value for name, value in leaves.items()}
    if group == "class":
        outputs, more = ["label", "y"], {"classlabels_int64s": list(range(classes))}
    else:
        outputs, more = ["y"], {"n_targets": classes}
    made = node(kind, ["x"], outputs, "trees", domain="ai.onnx.ml", **attributes, **more)
    shapes = {"label": ["n"], "y": ["n", classes]}
    return model([made], {"x": ["n", 4]}, {name: shapes[name] for name in outputs}, {}, domains=[("ai.onnx.ml", 3)], types={"label": 7})


class Trees(Tools):
    def fewer(self, whole, count, samples=True):
        path, out = self.save(whole), self.path("out.onnx")
        rows = [{"x": self.rng.normal(size=(8, 4)).astype(np.float32)} for _ in range(20)]
        more = {"samples": self.samples(rows)} if samples else {}
        reply = self.good("prune", model=path, out=out, recipe={"kind": "trees", "count": count}, **more)
        inputs = {"x": np.concatenate([row["x"] for row in rows])}
        return reply, answers(path, inputs)[-1], answers(out, inputs)[-1]

    def test_inspect_counts_trees_and_their_bytes(self):
        reply = self.good("inspect", model=self.save(ensemble(self.rng)))
        self.assertEqual(reply["trees"], {"kind": "TreeEnsembleClassifier", "count": 12})
        self.assertGreater(reply["weights_bytes"], 1000)

    def test_a_forest_of_fewer_trees_still_has_shares_of_one(self):
        for samples in (True, False):
            reply, want, have = self.fewer(ensemble(self.rng), 6, samples)
            self.assertEqual(reply, {"trees": {"before": 12, "after": 6}})
            np.testing.assert_allclose(have.sum(axis=1), 1, rtol=1e-5)
            self.assertLess(np.abs(want - have).mean(), 0.1)
            found = self.good("inspect", model=self.path("out.onnx"))
            self.assertEqual(found["trees"]["count"], 6)

    def test_trees_are_chosen_by_what_they_say_of_samples(self):
        whole = ensemble(self.rng)
        _, want, chosen = self.fewer(whole, 4)
        _, _, first = self.fewer(whole, 4, samples=False)
        self.assertLess(np.square(want - chosen).sum(), np.square(want - first).sum())

    def test_boosted_trees_get_factors_and_an_offset(self):
        for kind in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
            _, want, have = self.fewer(ensemble(self.rng, votes=False, kind=kind), 6)
            self.assertLess(np.square(want - have).sum(), 0.02 * np.square(want - want.mean(axis=0)).sum())

    def test_boosted_trees_without_samples_are_refused(self):
        path = self.save(ensemble(self.rng, votes=False))
        self.refused("prune", "'samples' are wanted", model=path, out=self.path("out"), recipe={"kind": "trees", "count": 3})

    def test_counts_that_prune_nothing_or_all_are_refused(self):
        path = self.save(ensemble(self.rng))
        for count in (0, 12, -1):
            recipe = {"kind": "trees", "count": count}
            self.refused("prune", "must be from 1 to 11", model=path, out=self.path("out"), recipe=recipe)

    def test_a_model_without_trees_is_refused(self):
        path = self.save(perceptron(self.rng))
        self.refused("prune", "no ensemble of trees", model=path, out=self.path("out"), recipe={"kind": "trees", "count": 3})

    def test_damaged_trees_are_refused(self):
        for name, value in {"nodes_truenodeids": [77], "nodes_modes": ["BRANCH_MAGIC"], "class_nodeids": [99], "nodes_falsenodeids": [0]}.items():
            whole = ensemble(self.rng)
            for attribute in whole.graph.node[0].attribute:
                if attribute.name == name and attribute.ints:
                    attribute.ints[0] = value[0]
                elif attribute.name == name:
                    attribute.strings[0] = value[0].encode()
            recipe = {"kind": "trees", "count": 3}
            self.refused("prune", model=self.save(whole), out=self.path("out"), recipe=recipe)


def transformer(rng, width=32, heads=4, inner=64, layers=1, computed_shapes=False):
    """Attention and a wider layer, as exports of BERT have them."""
    nodes, weights = [], {"half": np.float32(0.5)}
    size = width // heads

    def add(kind, inputs, **attributes):
        output = f"{kind.lower()}{len(nodes)}"
        nodes.append(node(kind, inputs, [output], f"{output}/node", **attributes))
        return output

    def weight(name, array):
        weights[name] = array
        return name

    def linear(x, name, shape):
        w = weight(f"{name}.w", rng.normal(size=shape).astype(np.float32) / np.float32(shape[0] ** 0.5))
        return add("Add", [weight(f"{name}.b", rng.normal(size=shape[1]).astype(np.float32)), add("MatMul", [x, w])])

    def shape(name, entries):
        if not computed_shapes:
            return weight(name, np.array([0, 0, *entries], np.int64))
        batch = add("Slice", [add("Shape", ["x"]), weight("from", np.array([0])), weight("to", np.array([2]))])
        return add("Concat", [batch, *(weight(f"{name}{place}", np.array([entry])) for place, entry in enumerate(entries))], axis=0)

    x = "x"
    for layer in range(layers):
        query, key, value = (
            add("Reshape", [linear(x, f"{layer}{part}", (width, width)), shape(f"{layer}{part}s", (heads, size))])
            for part in ("query", "key", "value")
        )
        query, value = (add("Transpose", [one], perm=[0, 2, 1, 3]) for one in (query, value))
        scores = add("MatMul", [query, add("Transpose", [key], perm=[0, 2, 3, 1])])
        mixed = add("MatMul", [add("Softmax", [add("Mul", [scores, "half"])], axis=-1), value])
        joined = add("Reshape", [add("Transpose", [mixed], perm=[0, 2, 1, 3]), shape(f"{layer}joined", (width,))])
        x = add("Add", [linear(joined, f"{layer}answer", (width, width)), x])
        wide = linear(x, f"{layer}wide", (width, inner))
        x = add("Add", [linear(add("Mul", [wide, add("Sigmoid", [wide])]), f"{layer}narrow", (inner, width)), x])
    nodes.append(node("Identity", [x], ["y"]))
    return model(nodes, {"x": ["n", "s", width]}, {"y": ["n", "s", width]}, weights)


class Structure(Tools):
    def pruned(self, whole, recipe, tokens=24):
        path, out = self.save(whole), self.path("out.onnx")
        # Inputs that lie in fewer dimensions than they have: some of the width is not needed.
        basis = self.rng.normal(size=(6, 32))
        rows = [{"x": (self.rng.normal(size=(1, tokens, 6)) @ basis).astype(np.float32)} for _ in range(12)]
        reply = self.good("prune", model=path, out=out, recipe=recipe, samples=self.samples(rows))
        want, have = answers(path, rows[0])[0], answers(out, rows[0])[0]
        self.assertLess(os.path.getsize(out), os.path.getsize(path))
        return reply, float(np.square(want - have).sum() / np.square(want - want.mean()).sum())

    def test_inspect_finds_widths_and_heads(self):
        for computed in (False, True):
            reply = self.good("inspect", model=self.save(transformer(self.rng, layers=2, computed_shapes=computed)))
            self.assertEqual([one["width"] for one in reply["ffn"]], [64, 64])
            self.assertEqual([(one["heads"], one["size"]) for one in reply["heads"]], [(4, 8), (4, 8)])

    def test_a_narrower_layer_makes_up_for_what_it_lost(self):
        reply, loss = self.pruned(transformer(self.rng, layers=2), {"kind": "width", "share": 0.75})
        self.assertEqual([(one["before"], one["after"]) for one in reply["widths"]], [(64, 48), (64, 48)])
        self.assertLess(loss, 0.1)
        found = self.good("inspect", model=self.path("out.onnx"))
        self.assertEqual([one["width"] for one in found["ffn"]], [48, 48])

    def test_fewer_heads_make_up_for_what_they_lost(self):
        for computed in (False, True):
            reply, loss = self.pruned(transformer(self.rng, computed_shapes=computed), {"kind": "heads", "drop": 1})
            self.assertEqual([(one["before"], one["after"]) for one in reply["heads"]], [(4, 3)])
            self.assertLess(loss, 0.15)
            found = self.good("inspect", model=self.path("out.onnx"))
            self.assertEqual([one["heads"] for one in found["heads"]], [3])

    def test_what_others_say_too_goes_without_loss(self):
        from lighter import repair

        rows = self.rng.normal(size=(200, 8))
        # Group 2 (of two columns each) says what groups 0 and 1 say together.
        rows[:, 4:6] = rows[:, 0:2] + 2 * rows[:, 2:4]
        weight = self.rng.normal(size=(8, 3))
        kept, repaired = repair.cut(rows.T @ rows, weight, 2, 3)
        self.assertNotEqual(kept.tolist(), [0, 1, 2])
        want, have = rows @ weight, rows[:, repair.spread(kept, 2)] @ repaired
        self.assertLess(np.square(want - have).sum(), 1e-4 * np.square(want).sum())

    def test_a_width_in_gemms_is_cut_too(self):
        nodes = [
            node("Gemm", ["x", "w1", "b1"], ["h"], "first", transB=1),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w2", "b2"], ["y"], "second", transB=1),
        ]
        shapes = {"w1": (64, 32), "b1": (64,), "w2": (16, 64), "b2": (16,)}
        weights = {name: self.rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        path = self.save(model(nodes, {"x": ["n", 32]}, {"y": ["n", 16]}, weights))
        samples = self.samples(self.rows(64, 32))
        reply = self.good("prune", model=path, out=self.path("out"), recipe={"kind": "width", "share": 0.5}, samples=samples)
        self.assertEqual(reply, {"widths": [{"node": "second", "before": 64, "after": 32}]})
        self.assertEqual(answers(self.path("out"), self.rows(1, 32)[0])[0].shape, (1, 16))

    def test_what_others_read_is_not_cut(self):
        whole = transformer(self.rng)
        sigmoid = next(one for one in whole.graph.node if one.op_type == "Sigmoid")
        whole.graph.output.append(helper.make_tensor_value_info(sigmoid.input[0], FLOAT, None))
        self.assertEqual(self.good("inspect", model=self.save(whole))["ffn"], [])

    def test_models_without_such_parts_and_jobs_without_samples_are_refused(self):
        path, samples = self.save(perceptron(self.rng)), self.samples(self.rows())
        convolution = model([node("Relu", ["x"], ["y"])], {"x": [1, 16]}, {"y": [1, 16]}, {})
        other = self.save(convolution, "other.onnx")
        width, heads = {"kind": "width", "share": 0.5}, {"kind": "heads", "drop": 1}
        self.refused("prune", "no two linear layers", model=other, out=self.path("out"), recipe=width, samples=samples)
        self.refused("prune", "no attention", model=path, out=self.path("out"), recipe=heads, samples=samples)
        self.refused("prune", "'samples' are wanted", model=path, out=self.path("out"), recipe=width)
        self.refused("prune", "between 0 and 1", model=path, out=self.path("out"), recipe={**width, "share": 1}, samples=samples)


if __name__ == "__main__":
    unittest.main()
