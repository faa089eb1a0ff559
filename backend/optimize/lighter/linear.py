"""A node enters, the linear layer that it ends leaves: product, weight, bias; and layers are cut: columns out of one,
rows out of the next.
"""

from dataclasses import dataclass

import numpy as np

from .graph import attribute


@dataclass
class Linear:
    """`x @ weight + bias`, as MatMul, MatMul and Add, or Gemm; `weight` is [inputs, outputs]."""

    product: object
    weight: np.ndarray
    added: object = None
    bias: np.ndarray | None = None

    @property
    def name(self):
        return self.product.name


def ending_at(graph, name):
    """The layer that makes this tensor, if one does and nothing else reads what is inside of it."""
    node = graph.makers.get(name)
    if node is None:
        return None
    if node.op_type == "Add":
        for index in (0, 1):
            bias, layer = graph.constant(node.input[1 - index]), product(graph, graph.makers.get(node.input[index]))
            if (
                bias is not None
                and layer is not None
                and layer.bias is None
                and graph.only_reader(node.input[index]) is node
            ):
                if bias.ndim >= 1 and bias.shape[-1] == bias.size == layer.weight.shape[1]:
                    layer.added, layer.bias = node, bias.reshape(-1)
                    return layer
        return None
    return product(graph, node)


def product(graph, node):
    if node is None or node.domain != "" or node.op_type not in ("MatMul", "Gemm"):
        return None
    weight = graph.constant(node.input[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or not np.isfinite(weight).all():
        return None
    if node.op_type == "MatMul":
        return Linear(node, weight)
    if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0 or attribute(node, "transA", 0):
        return None
    weight = weight.T if attribute(node, "transB", 0) else weight
    if len(node.input) < 3 or not node.input[2]:
        return Linear(node, weight)
    bias = graph.constant(node.input[2])
    if bias is None or bias.ndim < 1 or bias.shape[-1] != bias.size or bias.size != weight.shape[1]:
        return None
    return Linear(node, weight, None, bias.reshape(-1))


def put(graph, layer, weight, bias=None):
    """Gives the layer that weight and bias, under names of their own: others may read the old ones."""
    node = layer.product
    stored = weight.T if node.op_type == "Gemm" and attribute(node, "transB", 0) else weight
    node.input[1] = graph.add_weight(f"{node.input[1]}/cut", np.ascontiguousarray(stored, np.float32))
    if bias is None:
        return
    owner = layer.added or node
    index = 2 if owner is node else next(index for index in (0, 1) if owner.input[index] in graph.weights)
    owner.input[index] = graph.add_weight(f"{owner.input[index]}/cut", np.ascontiguousarray(bias, np.float32))


def keep_outputs(graph, layer, kept):
    put(graph, layer, layer.weight[:, kept], None if layer.bias is None else layer.bias[kept])
