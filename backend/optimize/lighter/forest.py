"""The attributes of a tree ensemble's node enter, its trees as tables leave: their answers to rows, and the node with
some of them alone.
"""

import numpy as np
import onnx

from .graph import attribute, set_attribute
from .refusal import Refused

# How a node compares its feature with its value.
MODES = {
    b"BRANCH_LEQ": np.less_equal,
    b"BRANCH_LT": np.less,
    b"BRANCH_GTE": np.greater_equal,
    b"BRANCH_GT": np.greater,
    b"BRANCH_EQ": np.equal,
    b"BRANCH_NEQ": np.not_equal,
}
LEAF = b"LEAF"

NODE_LISTS = (
    "treeids",
    "nodeids",
    "featureids",
    "modes",
    "values",
    "truenodeids",
    "falsenodeids",
    "missing_value_tracks_true",
    "hitrates",
)

# Weights of all leaves for all outputs.
TABLE = 100_000_000


class Forest:
    @classmethod
    def of(cls, node):
        try:
            return cls(node)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise Refused(f"the trees of {node.name!r} are damaged: {error}") from error

    def __init__(self, node):
        self.node = node
        self.leaves = "class" if node.op_type == "TreeEnsembleClassifier" else "target"
        trees, ids = self.list("nodes", "treeids"), self.list("nodes", "nodeids")
        self.trees, self.tree = np.unique(trees, return_inverse=True)
        self.count = len(self.trees)
        if not self.count:
            raise Refused(f"{node.name!r} has no trees")
        where = {pair: row for row, pair in enumerate(zip(trees.tolist(), ids.tolist(), strict=True))}
        if len(where) != len(trees):
            raise ValueError("two nodes of a tree have one number")
        self.modes = np.array(attribute(node, "nodes_modes"))
        self.features = self.list("nodes", "featureids")
        self.values = self.list("nodes", "values")
        inner = self.modes != LEAF
        if not set(self.modes[inner].tolist()) <= MODES.keys():
            raise ValueError("a node compares in an unknown way")
        self.true, self.false = (
            np.array(
                [
                    where[tree, to] if goes else row
                    for row, (tree, to, goes) in enumerate(zip(trees.tolist(), tos.tolist(), inner, strict=True))
                ]
            )
            for tos in (self.list("nodes", "truenodeids"), self.list("nodes", "falsenodeids"))
        )
        self.roots = self.find_roots(inner)
        self.averages = attribute(node, "aggregate_function", b"SUM") == b"AVERAGE"
        if attribute(node, "aggregate_function", b"SUM") not in (b"SUM", b"AVERAGE"):
            raise Refused(f"{node.name!r} doesn't sum its trees, so none can be left out")
        leaf_trees, leaf_ids, outputs = (self.list(self.leaves, part) for part in ("treeids", "nodeids", "ids"))
        self.leaf_rows = np.array([where[pair] for pair in zip(leaf_trees.tolist(), leaf_ids.tolist(), strict=True)])
        self.leaf_outputs, self.leaf_weights = outputs, self.list(self.leaves, "weights")
        self.outputs = int(outputs.max()) + 1
        if outputs.min() < 0 or len(trees) * self.outputs > TABLE:
            raise Refused(f"the trees of {node.name!r} are too large")

    def list(self, group, part):
        name = f"{group}_{part}"
        value = attribute(self.node, name)
        if value is None and part in ("values", "weights"):
            tensor = attribute(self.node, f"{name}_as_tensor")
            value = onnx.numpy_helper.to_array(tensor)
        return np.array(value)

    def find_roots(self, inner):
        child = np.zeros(len(inner), bool)
        for to in (self.true, self.false):
            child[to[inner]] = True
        roots = np.flatnonzero(~child)
        if len(roots) != self.count or len(np.unique(self.tree[roots])) != self.count:
            raise ValueError("a tree has not one root")
        return roots[np.argsort(self.tree[roots])]

    def table(self):
        """Each node's weights: [node, output]; zero for nodes that are no leaves."""
        table = np.zeros((len(self.modes), self.outputs))
        np.add.at(table, (self.leaf_rows, self.leaf_outputs), self.leaf_weights.astype(np.float64))
        return table

    def alike(self):
        """Whether all leaves' weights have one sum over the outputs: each tree then votes, and none builds on another."""
        if self.outputs < 2:
            return False
        sums = self.table()[self.modes == LEAF].sum(axis=1)
        return bool(sums.min() > 0 and sums.max() - sums.min() <= 1e-3 * sums.max())

    def answers(self, rows):
        """What each tree says to each row: [tree, row, output]."""
        if self.features.max() >= rows.shape[1]:
            raise Refused(
                f"the trees of {self.node.name!r} look at feature {self.features.max()}, and rows have {rows.shape[1]}"
            )
        table = self.table()
        at = np.repeat(self.roots[:, None], len(rows), axis=1)
        # Comparisons are in 32 bits, as ONNX Runtime's are.
        rows = rows.astype(self.values.dtype if self.values.dtype == np.float64 and self.double() else np.float32)
        for _ in range(len(self.modes)):
            feature = rows[np.arange(len(rows))[None, :], self.features[at]]
            value = self.values[at].astype(rows.dtype)
            modes = self.modes[at]
            if (modes == LEAF).all():
                return table[at]
            goes = np.zeros(at.shape, bool)
            for mode, compare in MODES.items():
                mask = modes == mode
                if mask.any():
                    goes[mask] = compare(feature[mask], value[mask])
            at = np.where(modes == LEAF, at, np.where(goes, self.true[at], self.false[at]))
        raise Refused(f"a tree of {self.node.name!r} has a circle")

    def double(self):
        return attribute(self.node, "nodes_values_as_tensor") is not None

    def keep(self, kept, factors, offset):
        """Leaves those trees in the node, each leaf's weight times its tree's factor."""
        factor = np.zeros(self.count)
        factor[kept] = factors
        nodes = np.isin(self.tree, kept)
        for part in NODE_LISTS:
            self.filter(f"nodes_{part}", nodes)
        leaf_tree = self.tree[self.leaf_rows]
        leaves = np.isin(leaf_tree, kept)
        weights = self.leaf_weights.astype(np.float64) * factor[leaf_tree]
        for part in ("treeids", "nodeids", "ids"):
            self.filter(f"{self.leaves}_{part}", leaves)
        self.put(f"{self.leaves}_weights", weights[leaves])
        if offset is not None:
            self.shift(offset)

    def filter(self, name, mask):
        value = attribute(self.node, name)
        if value is not None and len(value):
            set_attribute(self.node, name, [entry for entry, stays in zip(value, mask, strict=True) if stays])
        tensor = attribute(self.node, f"{name}_as_tensor")
        if tensor is not None:
            array = onnx.numpy_helper.to_array(tensor)
            if len(array):
                set_attribute(self.node, f"{name}_as_tensor", onnx.numpy_helper.from_array(array[mask], tensor.name))

    def put(self, name, values):
        tensor = attribute(self.node, f"{name}_as_tensor")
        if tensor is not None:
            set_attribute(self.node, f"{name}_as_tensor", onnx.numpy_helper.from_array(values, tensor.name))
        else:
            set_attribute(self.node, name, values.astype(np.float32).tolist())

    def shift(self, offset):
        """Adds the offset to the base that sums begin with."""
        if attribute(self.node, "base_values_as_tensor") is not None:
            base = onnx.numpy_helper.to_array(attribute(self.node, "base_values_as_tensor"))
        else:
            base = np.array(attribute(self.node, "base_values", []), np.float64)
        if not base.size:
            base = np.zeros(self.outputs)
        if base.size == self.outputs:
            self.put("base_values", base.astype(np.float64) + offset)
