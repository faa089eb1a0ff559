"""A model enters, its pairs of linear layers with an activation between leave; and with samples, the model with narrower
ones.

The activation is one or many elementwise nodes that read the first layer and single numbers alone. What of the inner width
goes is chosen by `repair`, for each pair alone.
"""

from dataclasses import dataclass

import numpy as np

from . import linear, repair
from .bounds import threads
from .graph import Graph, forget_shapes
from .refusal import Refused, field, known_fields
from .samples import Samples

ELEMENTWISE = {
    "Add", "Clip", "Div", "Elu", "Erf", "FastGelu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Mul", "Neg",
    "Pow", "QuickGelu", "Relu", "Selu", "Sigmoid", "Softplus", "Sub", "Tanh",
}  # fmt: skip

# Kernels compute in blocks of so many.
BLOCK = 8

# Narrower layers gain nothing.
LEAST = 32


@dataclass
class Pair:
    first: linear.Linear
    second: linear.Linear
    # The tensor that enters the second.
    inner: str

    @property
    def width(self):
        return len(self.second.weight)


def found(model):
    return [{"node": pair.second.name, "width": pair.width} for pair in pairs(model)]


def pairs(model):
    graph = Graph(model)
    every = []
    for node in model.graph.node:
        second = linear.product(graph, node)
        if second is None or len(second.weight) < LEAST:
            continue
        first = before(graph, node, len(second.weight))
        if first is not None:
            every.append(Pair(first, second, node.input[0]))
    return every


def before(graph, node, width):
    """The linear layer that alone leads to the node's input, over elementwise nodes."""
    ends, inside, left = set(), {id(node)}, [node.input[0]]
    while left and len(inside) < 16:
        name = left.pop()
        if name in graph.outputs:
            return None
        layer = linear.ending_at(graph, name)
        if layer is not None:
            ends.add(name)
            continue
        maker = graph.makers.get(name)
        if maker is None or maker.op_type not in ELEMENTWISE:
            return None
        inside.add(id(maker))
        left += [input_ for input_ in maker.input if input_ and not one_number(graph, input_)]
    if left or len(ends) != 1:
        return None
    end = ends.pop()
    layer = linear.ending_at(graph, end)
    reads = [reader for name in (end, *made(graph, inside, node)) for reader in graph.readers[name]]
    if layer.weight.shape[1] != width or any(id(reader) not in inside for reader in reads):
        return None
    return layer


def made(graph, inside, node):
    return [output for one in graph.graph.node if id(one) in inside and one is not node for output in one.output]


def one_number(graph, name):
    tensor = graph.weights.get(name)
    return tensor is not None and int(np.prod(tensor.dims)) == 1


def prune(model, recipe, samples, job):
    known_fields(recipe, ("kind", "share"))
    share = field(recipe, "share", (int, float))
    if not 0 < share < 1:
        raise Refused(f"'share' must be between 0 and 1, not {share}")
    if samples is None:
        raise Refused("'samples' are wanted to tell what of the width counts")
    every = pairs(model)
    if not every:
        raise Refused("the model has no two linear layers with an activation between, as transformers have them")
    sums = repair.sums(
        model, {pair.inner: pair.width for pair in every}, Samples(samples, field(job, "count", int, None)), threads(job)
    )
    graph, widths = Graph(model), []
    for pair in every:
        wanted = max(BLOCK, int(pair.width * share) // BLOCK * BLOCK)
        kept, weight = repair.cut(sums.pop(pair.inner), pair.second.weight, 1, wanted)
        linear.keep_outputs(graph, pair.first, kept)
        linear.put(graph, pair.second, weight)
        widths.append({"node": pair.second.name, "before": pair.width, "after": len(kept)})
    forget_shapes(model)
    Graph(model).clean()
    return {"widths": widths}
