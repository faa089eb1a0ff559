"""Models and samples from outside: damaged, hostile, or of another model."""

import os

import numpy as np
from onnx import TensorProto
from rig import Tools, model, node, perceptron


class Inputs(Tools):
    def test_damaged_models_are_refused(self):
        whole = perceptron(self.rng).SerializeToString()
        for name, content in {
            "empty": b"",
            "text": b"not a model" * 9,
            "cut": whole[: len(whole) // 2],
            "zeros": bytes(4096),
        }.items():
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

    def test_models_with_holes_are_refused(self):
        reads, makes, short, negative = (perceptron(self.rng) for _ in range(4))
        reads.graph.node[1].input[0] = "gone"
        makes.graph.output[0].name = "gone"
        short.graph.initializer[0].raw_data = bytes(8)
        negative.graph.initializer[0].dims[0] = -16
        for whole, words in (
            (reads, "node 'relu' reads 'gone', which nothing makes"),
            (makes, "nothing makes the output 'gone'"),
            (short, "weight 'w1' has 8 bytes, its shape wants 2048"),
            (negative, "weight 'w1' has a dimension below zero"),
        ):
            self.refused("inspect", words, model=self.save(whole))

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
        whole = model(
            [node("Enchant", ["x"], ["y"], domain="magic")], {"x": [1, 4]}, {"y": [1, 4]}, {}, domains=[("magic", 1)]
        )
        path = self.save(whole)
        self.good("prepare", model=path, out=self.path("out.onnx"))
        samples = self.samples(self.rows(1, 4))
        self.refused("ranges", "ONNX Runtime doesn't load the model", model=path, samples=samples, out=self.path("r"))

    def test_a_place_that_can_not_be_written_is_refused(self):
        path = self.save(perceptron(self.rng))
        self.refused("prepare", "can't be written", model=path, out="/nowhere/out.onnx")
        self.refused(
            "quantize", "can't be written", model=path, out="/nowhere/out.onnx", recipe={"kind": "weights", "bits": 8}
        )
