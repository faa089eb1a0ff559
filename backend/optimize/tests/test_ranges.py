"""Ranges of tensors, and which nodes lose most by them."""

import json

import numpy as np
from onnx import numpy_helper
from rig import Tools, model, node, perceptron


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
        nodes = [
            node("Log", ["x"], ["l"]),
            node("MatMul", ["l", "w"], ["h"], "one"),
            node("MatMul", ["x", "w"], ["y"], "two"),
        ]
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
        for content in (
            b"",
            b"[]",
            b'{"tensors": {"x": [1]}, "left": {}}',
            b'{"tensors": {"x": [1, -1]}, "left": {}}',
            b"\xff",
        ):
            with open(self.path("ranges.json"), "wb") as file:
                file.write(content)
            recipe = {"kind": "static", "ops": ["MatMul"]}
            self.refused(
                "quantize",
                "no file of ranges",
                model=path,
                out=self.path("out"),
                recipe=recipe,
                ranges=self.path("ranges.json"),
            )

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
                "sensitivity",
                model=path,
                samples=samples,
                ranges=ranges,
                by=by,
                recipe={"kind": "static", "ops": ["Gemm", "MatMul"]},
            )
            self.assertEqual([name for name, _ in reply["nodes"]], ["first", "second"], by)
            self.assertGreater(reply["nodes"][0][1], 10 * reply["nodes"][1][1])
            some = self.good(
                "sensitivity",
                model=path,
                samples=samples,
                ranges=ranges,
                by=by,
                among=["second"],
                recipe={"kind": "static", "ops": ["Gemm", "MatMul"]},
            )
            self.assertEqual(some["nodes"], reply["nodes"][1:])
