"""A model enters, who makes and who reads each of its tensors leaves: what rewrites and recipes look things up in.

It is of the main graph; a tensor that a graph inside of a node reads counts as read. After a change, a new one is made.
"""

from collections import defaultdict

import onnx
from onnx import numpy_helper

from .model import graphs


class Graph:
    def __init__(self, model):
        self.model = model
        self.graph = model.graph
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.makers = {output: node for node in model.graph.node for output in node.output if output}
        self.readers = defaultdict(list)
        for node in model.graph.node:
            for name in read_by(node):
                self.readers[name].append(node)

    def constant(self, name):
        """The value of a weight, else None."""
        tensor = self.weights.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def only_reader(self, name):
        """The node that alone reads the tensor, if one does and it is no output of the model."""
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def fresh(self, name):
        """A name of that form that no tensor and no node has."""
        taken = self.weights.keys() | self.makers.keys() | self.readers.keys() | {node.name for node in self.graph.node}
        taken |= {value.name for value in self.graph.input}
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}#{number}"
        return candidate

    def add_weight(self, name, array):
        """Adds a weight under that name, or one like it, and says which."""
        name = self.fresh(name)
        tensor = numpy_helper.from_array(array, name)
        self.graph.initializer.append(tensor)
        self.weights[name] = self.graph.initializer[-1]
        return name

    def clean(self):
        """Takes away what no output of the model needs. Says whether there was any."""
        needed, left = set(self.outputs), list(self.outputs)
        kept = set()
        while left:
            node = self.makers.get(left.pop())
            if node is None or id(node) in kept:
                continue
            kept.add(id(node))
            left += [name for name in read_by(node) if name not in needed]
            needed.update(read_by(node))
        nodes = [node for node in self.graph.node if id(node) in kept]
        weights = [tensor for tensor in self.graph.initializer if tensor.name in needed]
        changed = len(nodes) != len(self.graph.node) or len(weights) != len(self.graph.initializer)
        if changed:
            replace(self.graph.node, nodes)
            replace(self.graph.initializer, weights)
        return changed


def read_by(node):
    """Names that the node reads, those of the graphs inside of it too."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for whole in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for one in graphs(whole):
                names += [name for inner in one.node for name in inner.input if name]
                names += [value.name for value in one.output]
    return list(dict.fromkeys(names))


def replace(field, entries):
    """Puts the entries in the place of all that a repeated field has."""
    # Copies: entries that stand in the field itself are gone once it is emptied.
    copies = []
    for entry in entries:
        copy = type(entry)()
        copy.CopyFrom(entry)
        copies.append(copy)
    del field[:]
    field.extend(copies)


def sort(model):
    """Each node after those that make what it reads, as ONNX wants it; converters put what they add last."""
    from onnxruntime.transformers.onnx_model import OnnxModel

    OnnxModel.graph_topological_sort(model.graph)


def forget_shapes(model):
    """Takes away what was inferred, after a change that makes it untrue."""
    del model.graph.value_info[:]


def attribute(node, name, default=None):
    for one in node.attribute:
        if one.name == name:
            return onnx.helper.get_attribute_value(one)
    return default


def set_attribute(node, name, value):
    for one in list(node.attribute):
        if one.name == name:
            node.attribute.remove(one)
    node.attribute.append(onnx.helper.make_attribute(name, value))
