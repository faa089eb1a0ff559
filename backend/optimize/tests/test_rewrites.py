"""Each rewrite is equal for all inputs, and says whether it changed anything."""

import numpy as np
from onnx import TensorProto, helper
from rig import FLOAT, Tools, answers, kinds, model, node, perceptron

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
        [("Mul", "x", "x"), ("Mul", 0, "x"), ("Mul", "cubic", 1), ("Add", "x", 2), ("Mul", "scale", 3), ("Tanh", 4),
         ("Add", 5, "one"), ("Mul", 6, "half"), ("Mul", "x", 7)],
        {"cubic": 0.044715, "scale": (2 / np.pi) ** 0.5, "one": 1, "half": 0.5},
    ),
    "tanh by power": (
        [("Pow", "x", "three"), ("Mul", 0, "cubic"), ("Add", 1, "x"), ("Mul", 2, "scale"), ("Tanh", 3), ("Add", "one", 4),
         ("Mul", "x", "half"), ("Mul", 6, 5)],
        {"three": 3, "cubic": 0.044715, "scale": (2 / np.pi) ** 0.5, "one": 1, "half": 0.5},
    ),
}  # fmt: skip


def activation(rng, steps, numbers, shape=(), opset=17):
    """Between two products, as in a model."""

    def name(of):
        return of if isinstance(of, str) else f"s{of}"

    nodes = [node("MatMul", ["in", "w"], ["x"])]
    for index, (kind, *inputs) in enumerate(steps):
        nodes.append(node(kind, [name(of) for of in inputs], [f"s{index}"]))
    nodes.append(node("MatMul", [nodes[-1].output[0], "w"], ["y"]))
    weights = {name: np.full(shape, value, np.float32) for name, value in numbers.items()}
    weights["w"] = rng.normal(size=(16, 16)).astype(np.float32)
    return model(nodes, {"in": [2, 16]}, {"y": [2, 16]}, weights, opset)


class Rewrites(Tools):
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
        self.assertEqual(
            self.folded(node("MatMul", ["x", "w"], ["h"]), {"w": (4, 6), "s": (1, 6)}, scale, (2, 4)), ["MatMul"]
        )

    def test_what_scales_other_than_channels_or_is_read_by_others_is_left(self):
        weights = {
            "w": self.rng.normal(size=(6, 4, 3, 3)).astype(np.float32),
            "s": self.rng.normal(size=(6,)).astype(np.float32),
        }
        conv = node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1])
        rows = model([conv, node("Mul", ["h", "s"], ["y"])], {"x": [1, 4, 6, 6]}, {"y": [1, 6, 6, 6]}, weights)
        self.assertFalse(self.rewritten(rows, "fold-batch-norm")[1]["changed"])
        weights["s"] = weights["s"].reshape(6, 1, 1)
        two = model(
            [conv, node("Mul", ["h", "s"], ["y"])], {"x": [1, 4, 6, 6]}, {"y": [1, 6, 6, 6], "h": [1, 6, 6, 6]}, weights
        )
        self.assertFalse(self.rewritten(two, "fold-batch-norm")[1]["changed"])
        divided = model([conv, node("Div", ["s", "h"], ["y"])], {"x": [1, 4, 6, 6]}, {"y": [1, 6, 6, 6]}, weights)
        self.assertFalse(self.rewritten(divided, "fold-batch-norm")[1]["changed"])

    def test_a_weight_of_two_convolutions_is_scaled_for_one(self):
        weights = {
            "w": self.rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
            "s": self.rng.normal(size=(4, 1, 1)).astype(np.float32),
        }
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
            weights |= {
                name: np.array([value], np.int64) for name, value in {"zero": 0, "one": 1, "five": 5, "steps": steps}.items()
            }
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

    def test_gelu_is_known_however_it_is_written(self):
        for form, (steps, numbers) in GELUS.items():
            for shape in ((), (1,), (1, 1)):
                for opset in (17, 20):
                    out, reply = self.rewritten(activation(self.rng, steps, numbers, shape, opset), "gelu")
                    self.assertTrue(reply["changed"], (form, shape, opset))
                    wanted = "FastGelu" if "tanh" in form and opset < 20 else "Gelu"
                    self.assertEqual(kinds(out), ["MatMul", wanted, "MatMul"])
                    inputs = {"in": self.rng.normal(size=(2, 16)).astype(np.float32)}
                    self.same(self.path("model.onnx"), out, inputs, 1e-4)

    def test_what_is_nearly_gelu_is_left(self):
        for change in ({"cubic": 0.05}, {"one": 1.01}, {"half": 0.6}):
            steps, numbers = GELUS["tanh"]
            self.assertFalse(
                self.rewritten(activation(self.rng, steps, {**numbers, **change}), "gelu")[1]["changed"], change
            )

    def test_gelu_whose_inside_is_read_by_others_is_left(self):
        steps, numbers = GELUS["torch"]
        whole = activation(self.rng, steps, numbers)
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
