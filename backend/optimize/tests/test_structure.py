"""Narrower layers and fewer heads."""

import os

import numpy as np
from onnx import helper
from rig import FLOAT, Tools, answers, model, node, perceptron


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
        return add(
            "Concat", [batch, *(weight(f"{name}{place}", np.array([entry])) for place, entry in enumerate(entries))], axis=0
        )

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
        self.refused(
            "prune", "between 0 and 1", model=path, out=self.path("out"), recipe={**width, "share": 1}, samples=samples
        )
