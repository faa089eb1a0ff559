"""What enters a layer on samples, and groups of its inputs, enter; which groups may go and the weight that makes up for
them leave.

Groups go in rounds, each time those whose loss is least once the rest makes up for them (as in optimal brain surgeon). The
new weight is the least squares one: of all that the kept inputs can say, what is nearest to what the layer said. Only sums
of products of the inputs are kept, never the inputs.
"""

import numpy as np
import onnx

from .refusal import Refused
from .session import open_, options
from .session import run as run_session

ROUNDS = 3

# How strongly weights are held small, by the mean square of an input.
RIDGE = 1e-3

# Sums of products that are kept at a time.
SUMS_BYTES = 512 << 20


def sums(model, inputs, samples, threads):
    """For each tensor and its width: the sums of products of its columns over all rows of all samples."""
    found = {}
    for names in chunks(inputs):
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        del wide.graph.output[:]
        wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = open_(wide, options(threads))
        found |= {name: np.zeros((inputs[name], inputs[name])) for name in names}
        for index, entry in enumerate(samples.of(session.get_inputs())):
            for name, value in zip(names, run_session(session, names, entry, index), strict=True):
                rows = value.reshape(-1, inputs[name])
                found[name] += rows.T @ rows
    for name, gram in found.items():
        if not np.isfinite(gram).all():
            raise Refused(f"{name!r} is infinite or no number on the samples")
    return found


def chunks(inputs):
    names, room = [], SUMS_BYTES
    for name, width in inputs.items():
        if names and 8 * width * width > room:
            yield names
            names, room = [], SUMS_BYTES
        names.append(name)
        room -= 8 * width * width
    if names:
        yield names


def cut(gram, weight, size, wanted):
    """Which groups of `size` inputs stay, `wanted` of them, and the weight of those."""
    weight = weight.astype(np.float64)
    count = len(weight) // size
    kept = np.arange(count)
    held = gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    current = weight
    for round_ in range(ROUNDS):
        goes = (len(kept) - wanted) // (ROUNDS - round_)
        if goes == 0:
            continue
        inverse = np.linalg.inv(part(held, kept, kept, size))
        losses = np.array([loss(inverse, current, place, size) for place in range(len(kept))])
        kept = np.sort(kept[np.argsort(losses, kind="stable")[goes:]])
        current = fitted(held, weight, kept, size)
    return kept, current.astype(np.float32)


def loss(inverse, weight, place, size):
    """What the layer's answers lose at least, when this group is gone and the others make up for it."""
    at = slice(place * size, (place + 1) * size)
    return float(np.sum(weight[at] * np.linalg.solve(inverse[at, at], weight[at])))


def fitted(held, weight, kept, size):
    every = np.arange(len(weight) // size)
    return np.linalg.solve(part(held, kept, kept, size), part(held, kept, every, size) @ weight)


def part(gram, rows, columns, size):
    return gram[np.ix_(spread(rows, size), spread(columns, size))]


def spread(groups, size):
    """The inputs of those groups."""
    return (groups[:, None] * size + np.arange(size)).reshape(-1)
