"""A model enters, its attention layers leave; and with samples, the model with fewer heads in each.

    query, key, value: Reshape(linear(x), [.., .., heads, size]) and Transpose
    answer: linear(Reshape(Transpose(MatMul(Softmax(.. MatMul(query, key) ..), value)), [.., .., heads * size]))

as exports of BERT have it. Shapes may be constants, or put together by Concat. Which heads go is chosen by `repair`, for
each layer alone.
"""

from dataclasses import dataclass

import numpy as np

from . import linear, repair
from .bounds import threads
from .graph import Graph, attribute, forget_shapes
from .refusal import Refused, field, known_fields
from .samples import Samples

# What stands between the product of query and key, and the Softmax.
BETWEEN = {"Add", "Div", "Mul", "Softmax", "Sub", "Where", "Cast", "Identity"}


@dataclass
class Attention:
    branches: list
    # The branches' Reshape nodes, and the one before the answer.
    splits: list
    joined: object
    answer: linear.Linear
    heads: int
    size: int

    @property
    def inner(self):
        return self.answer.product.input[0]


def found(model):
    return [{"node": one.answer.name, "heads": one.heads, "size": one.size} for one in attentions(model)]


def attentions(model):
    graph = Graph(model)
    return [one for node in model.graph.node if (one := match(graph, node)) is not None]


def match(graph, node):
    answer = linear.product(graph, node)
    joined = graph.makers.get(node.input[0]) if answer is not None else None
    if joined is None or joined.op_type != "Reshape" or graph.only_reader(joined.output[0]) is not node:
        return None
    turned = graph.makers.get(joined.input[0])
    if turned is None or turned.op_type != "Transpose" or list(attribute(turned, "perm", [])) != [0, 2, 1, 3]:
        return None
    mixed = graph.makers.get(turned.input[0])
    if mixed is None or mixed.op_type != "MatMul":
        return None
    scores = product_below(graph, mixed.input[0])
    if scores is None:
        return None
    branches = [branch(graph, name) for name in (*scores.input, mixed.input[1])]
    if any(one is None for one in branches):
        return None
    layers, splits, sizes = zip(*branches, strict=True)
    heads, size = sizes[0]
    if len(set(sizes)) != 1 or heads * size != len(answer.weight) or last_of(graph, joined) not in (heads * size, -1):
        return None
    if any(layer.weight.shape[1] != heads * size for layer in layers):
        return None
    return Attention(list(layers), list(splits), joined, answer, heads, size)


def product_below(graph, name):
    """The product of two activations that leads to this tensor over scales, masks and a Softmax."""
    softmax = False
    for _ in range(8):
        node = graph.makers.get(name)
        if node is None:
            return None
        if node.op_type == "MatMul":
            return node if softmax else None
        if node.op_type not in BETWEEN:
            return None
        softmax |= node.op_type == "Softmax"
        # The scores come from the input that leads to a product; masks don't.
        inputs = [input_ for input_ in node.input if input_ in graph.makers and leads_to_product(graph, input_)]
        if len(inputs) != 1:
            return None
        name = inputs[0]
    return None


def leads_to_product(graph, name, depth=8):
    node = graph.makers.get(name)
    if node is None or depth == 0:
        return False
    if node.op_type == "MatMul":
        return node.input[1] in graph.makers
    return node.op_type in BETWEEN and any(leads_to_product(graph, input_, depth - 1) for input_ in node.input)


def branch(graph, name):
    """The linear layer of query, key or value, its Reshape, and (heads, size)."""
    for _ in range(4):
        node = graph.makers.get(name)
        if node is None or graph.only_reader(name) is None:
            return None
        if node.op_type == "Reshape":
            break
        if node.op_type == "Transpose" or (
            node.op_type in ("Mul", "Div") and any(scalar(graph, input_) for input_ in node.input)
        ):
            name = next(input_ for input_ in node.input if input_ in graph.makers)
            continue
        return None
    else:
        return None
    layer = linear.ending_at(graph, node.input[0])
    shape = parts(graph, node)
    if layer is None or shape is None or len(shape) < 3 or graph.only_reader(node.input[0]) is None:
        return None
    heads, size = shape[-2:]
    if size == -1 and isinstance(heads, int) and heads > 0:
        size = layer.weight.shape[1] // heads
    if not isinstance(heads, int) or not isinstance(size, int) or heads < 2 or size < 1:
        return None
    return layer, node, (heads, size)


def scalar(graph, name):
    tensor = graph.weights.get(name)
    return tensor is not None and int(np.prod(tensor.dims)) == 1


def parts(graph, reshape):
    """A Reshape's shape: numbers, and None for each piece that is computed, of however many numbers: count from the end."""
    constant = graph.constant(reshape.input[1])
    if constant is not None:
        return [int(entry) for entry in constant]
    maker = graph.makers.get(reshape.input[1])
    if maker is None or maker.op_type != "Concat":
        return None
    shape = []
    for name in maker.input:
        value = graph.constant(name)
        shape += [None] if value is None else [int(entry) for entry in value.reshape(-1)]
    return shape


def last_of(graph, reshape):
    shape = parts(graph, reshape)
    return shape[-1] if shape else None


def prune(model, recipe, samples, job):
    known_fields(recipe, ("kind", "drop"))
    drop = field(recipe, "drop", int)
    if samples is None:
        raise Refused("'samples' are wanted to tell which heads count")
    every = attentions(model)
    if not every:
        raise Refused("the model has no attention as exports of BERT have it")
    least = min(one.heads for one in every)
    if not 1 <= drop < least:
        raise Refused(f"'drop' must be from 1 to {least - 1}, as a layer has {least} heads, not {drop}")
    widths = {one.inner: one.heads * one.size for one in every}
    sums = repair.sums(model, widths, Samples(samples, field(job, "count", int, None)), threads(job))
    graph = Graph(model)
    for one in every:
        kept, weight = repair.cut(sums.pop(one.inner), one.answer.weight, one.size, one.heads - drop)
        columns = repair.spread(kept, one.size)
        for layer in one.branches:
            linear.keep_outputs(graph, layer, columns)
        linear.put(graph, one.answer, weight)
        for split in one.splits:
            set_part(graph, split, -2, len(kept))
        set_part(graph, one.joined, -1, len(columns))
    forget_shapes(model)
    Graph(model).clean()
    return {"heads": [{"node": one.answer.name, "before": one.heads, "after": one.heads - drop} for one in every]}


def set_part(graph, reshape, place, value):
    """Puts a number into the shape of a Reshape, under a name of its own; places are counted from the end."""
    if parts(graph, reshape)[place] == -1:
        return
    constant = graph.constant(reshape.input[1])
    if constant is not None:
        reshape.input[1] = changed(graph, reshape.input[1], place, value)
        return
    maker = type(reshape)()
    maker.CopyFrom(graph.makers[reshape.input[1]])
    for index in reversed(range(len(maker.input))):
        width = graph.constant(maker.input[index]).size
        if -place <= width:
            maker.input[index] = changed(graph, maker.input[index], place, value)
            break
        place += width
    maker.name, maker.output[0] = graph.fresh(f"{maker.name}/cut"), graph.fresh(f"{maker.output[0]}/cut")
    reshape.input[1] = maker.output[0]
    graph.graph.node.insert(list(graph.graph.node).index(reshape), maker)


def changed(graph, name, place, value):
    entries = graph.constant(name).copy()
    entries.reshape(-1)[place] = value
    return graph.add_weight(f"{name}/cut", entries)
