"""Ranges from least to greatest enter, narrower ones leave: what of the values is rare is cut off, so that the rest has
finer steps.

By percentile, or by entropy: the range whose 8-bit steps tell least less than the values do (Kullback-Leibler), as ONNX
Runtime and TensorRT do it.
"""

import numpy as np
import onnx

from .session import open_, options
from .session import run as run_session

BINS = 2048

# Steps that the entropy is computed with, and the narrowest range that it looks at.
STEPS = 128


def narrowed(model, samples, ranges, threads, method, percentile):
    found = {}
    for names in chunks(ranges):
        for name, counts in counted(model, samples, names, ranges, threads).items():
            low, high, most = ranges[name]
            narrow = (
                by_percentile(counts, low, high, percentile) if method == "percentile" else by_entropy(counts, low, high)
            )
            found[name] = [*narrow, most]
    return {name: found[name] for name in ranges}


def chunks(ranges):
    """Names whose tensors together are within the bound; one larger than that is alone."""
    from .ranges import CHUNK_BYTES

    names, room = [], CHUNK_BYTES
    for name, (_, _, most) in ranges.items():
        if names and most * 4 > room:
            yield names
            names, room = [], CHUNK_BYTES
        names.append(name)
        room -= most * 4
    if names:
        yield names


def counted(model, samples, names, ranges, threads):
    """How often each tensor's values fell into each of the bins."""
    inputs_of_model = {value.name for value in model.graph.input}
    made = [name for name in names if name not in inputs_of_model]
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.output[:]
    wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    if not made:
        # A model wants one output.
        wide.graph.output.extend(model.graph.output[:1])
    session = open_(wide, options(threads))
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    for index, inputs in enumerate(samples.of(session.get_inputs())):
        values = dict(zip(made, run_session(session, made, inputs, index), strict=True)) if made else {}
        for name in names:
            low, high, _ = ranges[name]
            value = values[name] if name in values else inputs[name]
            counts[name] += np.histogram(value, BINS, (low, high) if low < high else (low - 1, high + 1))[0]
    return counts


def by_percentile(counts, low, high, percentile):
    """Where the rare values of both ends begin; they share what is over the percentile."""
    if low == high:
        return [low, high]
    cut = (100 - percentile) / 200 * counts.sum()
    below = np.cumsum(counts)
    first = int(np.searchsorted(below, cut, "right"))
    last = BINS - 1 - int(np.searchsorted(np.cumsum(counts[::-1]), cut, "right"))
    edges = np.linspace(low, high, BINS + 1)
    return [float(edges[min(first, BINS - 1)]), float(edges[max(last, 0) + 1])]


def by_entropy(counts, low, high):
    """Each end is cut in the same proportion; the narrowest looked at is a quarter of the whole."""
    if low == high:
        return [low, high]
    # Zero keeps its place in the range: what is cut is cut towards it.
    zero = 0.0 if low < 0.0 < high else (low if low >= 0 else high)
    edges = np.linspace(low, high, BINS + 1)
    best, narrow = np.inf, [low, high]
    for share in np.linspace(1.0, 0.25, 61):
        ends = [zero + (low - zero) * share, zero + (high - zero) * share]
        first, last = np.searchsorted(edges, ends[0], "left"), np.searchsorted(edges, ends[1], "right") - 1
        if last - first < STEPS:
            break
        divergence = told_less(counts, first, last)
        if divergence < best:
            best, narrow = divergence, [float(edges[first]), float(edges[last])]
    return narrow


def told_less(counts, first, last):
    inside = counts[first:last].astype(np.float64)
    clipped = inside.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    # Each step says of all its bins that have values the same.
    steps = np.minimum(np.arange(len(inside)) * STEPS // len(inside), STEPS - 1)
    sums = np.bincount(steps, inside, STEPS)
    used = np.bincount(steps, inside > 0, STEPS)
    quantized = np.where(inside > 0, (sums / np.maximum(used, 1))[steps], 0)
    if not quantized.sum():
        return np.inf
    p, q = smooth(clipped / clipped.sum()), smooth(quantized / quantized.sum())
    return float(np.sum(p * np.log(p / q)))


def smooth(shares, least=1e-7):
    shares = np.maximum(shares, least)
    return shares / shares.sum()
