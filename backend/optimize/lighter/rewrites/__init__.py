"""A model and a pass' name enter, an equal model leaves, and whether it changed. A variant is made of these before any
recipe.

Passes in the order that pays: onnxsim moves numbers into weights, and then the patterns of the fusions are gone. Equal
means: for all inputs, but for rounding.
"""

import importlib

from ..model import load, save
from ..prepare import prepare
from ..refusal import field, known_fields
from ..scratch import beside

# Pass: its module, with `apply(model) -> what it did, or None`.
PASSES = {
    "opset": "opset",
    "gelu": "gelu",
    "layer-norm": "layer_norm",
    "one-hot": "one_hot",
    "simplify": "simplify",
    "fold-batch-norm": "batch_norm",
}


def run(job):
    known_fields(job, ("model", "out", "pass", "memory_bytes"))
    name = field(job, "pass", str, among=PASSES)
    out, model = field(job, "out", str), load(field(job, "model", str))
    prepare(model)
    with beside(out):
        what = importlib.import_module(f"{__name__}.{PASSES[name]}").apply(model)
    prepare(model)
    save(model, out)
    return {"changed": what is not None, "what": what or "nothing to do"}
