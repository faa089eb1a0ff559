"""Fewer trees."""

import numpy as np
from rig import Tools, answers, model, node, perceptron


def ensemble(rng, trees=12, classes=3, depth=3, votes=True, kind="TreeEnsembleClassifier"):
    """Trees of that depth over four features; leaves vote (weights sum to one tree's share) or add."""
    lists = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    first_leaf, last = 2**depth - 1, 2 ** (depth + 1) - 1
    for tree in range(trees):
        for index in range(last):
            inner = index < first_leaf
            feature, threshold = (int(rng.integers(4)), float(rng.normal())) if inner else (0, 0.0)
            below, above = (2 * index + 1, 2 * index + 2) if inner else (0, 0)
            entry = (tree, index, feature, "BRANCH_LEQ" if inner else "LEAF", threshold, below, above)
            for name, value in zip(lists, entry, strict=True):
                lists[name].append(value)
            if not inner:
                # Later trees matter less, as in boosting.
                weights = rng.dirichlet(np.ones(classes)) / trees if votes else rng.normal(size=classes) * 0.6**tree
                for output in range(classes):
                    for name, value in zip(leaves, (tree, index, output, float(weights[output])), strict=True):
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
    return model(
        [made],
        {"x": ["n", 4]},
        {name: shapes[name] for name in outputs},
        {},
        domains=[("ai.onnx.ml", 3)],
        types={"label": 7},
    )


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
        for name, value in {
            "nodes_truenodeids": [77],
            "nodes_modes": ["BRANCH_MAGIC"],
            "class_nodeids": [99],
            "nodes_falsenodeids": [0],
        }.items():
            whole = ensemble(self.rng)
            for attribute in whole.graph.node[0].attribute:
                if attribute.name == name and attribute.ints:
                    attribute.ints[0] = value[0]
                elif attribute.name == name:
                    attribute.strings[0] = value[0].encode()
            recipe = {"kind": "trees", "count": 3}
            self.refused("prune", model=self.save(whole), out=self.path("out"), recipe=recipe)
