"""A model enters, what is in it leaves: operators, weights, trees, and the parts whose structure can be cut."""

from collections import Counter

from . import ffn, heads, trees
from .graph import read_by
from .model import load, opset, size
from .prepare import prepare
from .refusal import field, known_fields


def run(job):
    known_fields(job, ("model", "memory_bytes"))
    model = load(field(job, "model", str))
    prepare(model)
    listed = nodes(model)
    return {
        "opset": opset(model),
        "ops": dict(Counter(node.op_type for node in model.graph.node)),
        "weights_bytes": sum(node["weights_bytes"] for node in listed),
        "nodes": listed,
        "trees": trees.found(model),
        "ffn": ffn.found(model),
        "heads": heads.found(model),
    }


def nodes(model):
    """Each node with the bytes of its weights; a weight of several nodes counts for the first."""
    left = {tensor.name: size(tensor) for tensor in model.graph.initializer}
    return [{"name": node.name, "op": node.op_type, "weights_bytes": weights(node, left)} for node in model.graph.node]


def weights(node, left):
    # Trees are attributes of their node.
    inside = node.ByteSize() if node.op_type in trees.KINDS else 0
    return inside + sum(left.pop(name, 0) for name in read_by(node))
