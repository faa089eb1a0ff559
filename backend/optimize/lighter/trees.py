"""A model with an ensemble of trees and samples enter, the model with fewer trees leaves, whose sum is as near the whole
one as can be.

Trees are taken one by one, each time the one that leads nearest to the whole ensemble's sum on the samples. In a forest
(each leaf's weights have one sum) all that are left then count more, equally; in a boosted ensemble each has a factor by
least squares, and the sum an offset. Without samples a forest keeps its first trees, and a boosted ensemble is refused.
"""

import numpy as np
import onnx

from .bounds import threads
from .forest import Forest
from .refusal import Refused, field, known_fields
from .samples import Samples
from .session import open_, options
from .session import run as run_session

KINDS = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")

# Numbers that the trees' answers to the samples may be: what is over it, is of samples not looked at.
ANSWERS = 30_000_000

# How strongly a tree's own factor is held at the common one.
RIDGE = 1e-2


def found(model):
    nodes = [node for node in model.graph.node if node.op_type in KINDS]
    return {"kind": nodes[0].op_type, "count": sum(Forest.of(node).count for node in nodes)} if nodes else None


def prune(model, recipe, samples, job):
    known_fields(recipe, ("kind", "count"))
    wanted = field(recipe, "count", int)
    nodes = [node for node in model.graph.node if node.op_type in KINDS]
    if not nodes:
        raise Refused("the model has no ensemble of trees (TreeEnsembleClassifier, TreeEnsembleRegressor)")
    if len(nodes) > 1:
        raise Refused(f"the model has {len(nodes)} ensembles of trees; one can be pruned")
    forest = Forest.of(nodes[0])
    if not 1 <= wanted < forest.count:
        raise Refused(f"'count' must be from 1 to {forest.count - 1}, as the model has {forest.count} trees, not {wanted}")
    kept, factors, offset = choose(model, forest, wanted, samples, job)
    forest.keep(kept, factors, offset)
    return {"trees": {"before": forest.count, "after": wanted}}


def choose(model, forest, wanted, samples, job):
    alike = forest.alike()
    # An average counts its trees itself.
    common = 1.0 if forest.averages else forest.count / wanted
    if samples is None:
        if not alike:
            raise Refused("the trees are no forest, so 'samples' are wanted to tell which of them count")
        return np.arange(wanted), np.full(wanted, common), None
    answers = answered(model, forest, Samples(samples, field(job, "count", int, None)), threads(job))
    flat = answers.reshape(len(answers), -1)
    gram, toward = flat @ flat.T, flat @ flat.sum(axis=0)
    kept = nearest(gram, toward, wanted, forest.count / wanted if alike else None)
    if alike:
        return kept, np.full(wanted, common), None
    factors, offset = refit(answers, kept)
    return kept, factors / (forest.count / wanted if forest.averages else 1), offset


def answered(model, forest, samples, threads_):
    """Each tree's answer to each sample's rows: [tree, row, output]."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    name = forest.node.input[0]
    del wide.graph.output[:]
    inputs = {value.name for value in model.graph.input}
    wide.graph.output.extend(model.graph.output[:1] if name in inputs else [onnx.ValueInfoProto(name=name)])
    session = open_(wide, options(threads_))
    rows, room = [], ANSWERS // (forest.count * forest.outputs)
    for index, sample in enumerate(samples.of(session.get_inputs())):
        value = sample[name] if name in inputs else run_session(session, [name], sample, index)[0]
        rows.append(np.asarray(value, np.float64).reshape(-1, np.shape(value)[-1])[:room])
        room -= len(rows[-1])
        if room <= 0:
            break
    return forest.answers(np.concatenate(rows))


def nearest(gram, toward, wanted, scale):
    """Trees in the order taken. With a scale the sum times it is compared, else the sum times what fits it best."""
    kept, left = [], np.ones(len(gram), bool)
    along, norm, with_kept = 0.0, 0.0, np.zeros(len(gram))
    for step in range(wanted):
        norms = norm + 2 * with_kept + np.diag(gram)
        alongs = along + toward
        if scale is None:
            gains = np.sign(alongs) * alongs**2 / np.maximum(norms, 1e-30)
        else:
            # The part that is there at this step stands for the whole.
            factor = scale * wanted / (step + 1)
            gains = 2 * factor * alongs - factor**2 * norms
        tree = int(np.argmax(np.where(left, gains, -np.inf)))
        kept.append(tree)
        left[tree] = False
        along, norm = alongs[tree], norms[tree]
        with_kept += gram[tree]
    return np.sort(np.array(kept))


def refit(answers, kept):
    """A factor for each kept tree and an offset for each output, by least squares near one common factor."""
    whole = answers.sum(axis=0)
    part = answers[kept]
    mean_whole, means = whole.mean(axis=0), part.mean(axis=1)
    target = (whole - mean_whole).reshape(-1)
    design = (part - means[:, None, :]).reshape(len(kept), -1)
    summed = design.sum(axis=0)
    common = float(summed @ target / max(summed @ summed, 1e-30))
    gram = design @ design.T
    ridge = RIDGE * np.trace(gram) / len(kept) * np.eye(len(kept)) + 1e-12 * np.eye(len(kept))
    factors = common + np.linalg.solve(gram + ridge, design @ (target - common * summed))
    return factors, mean_whole - factors @ means
