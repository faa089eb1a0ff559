"""A model and a recipe enter, a variant leaves, with what was quantized, what was left and why, and the session entries
it wants.

Each kind of recipe is a module: `apply(model, recipe, ranges) -> (quantized, left, session)`.
"""

import importlib
from collections import Counter

from . import half
from .model import load, save
from .prepare import prepare
from .ranges import read
from .refusal import Refused, field, known_fields
from .scratch import beside
from .session import open_, options

RECIPES = {
    "static": "static",
    "dynamic": "dynamic",
    "hybrid": "hybrid",
    "weights": "weights",
    "storage": "storage",
    "half": "half",
}
WITH_RANGES = ("static", "hybrid")


def run(job):
    known_fields(job, ("model", "out", "recipe", "ranges", "memory_bytes"))
    recipe, out = field(job, "recipe", dict), field(job, "out", str)
    kind = field(recipe, "kind", str, among=RECIPES)
    ranges = field(job, "ranges", str, None)
    if kind in WITH_RANGES and ranges is None:
        raise Refused(f"a {kind} recipe wants 'ranges'")
    model = load(field(job, "model", str))
    prepare(model)
    quantized, left, session = apply(model, recipe, read(ranges) if ranges is not None else None, out)
    # A variant that doesn't load is none.
    if kind == "half" and not half.runs_here(recipe):
        half.check(model)
    else:
        open_(model, options(1, entries=session))
    save(model, out)
    return {
        "quantized": dict(Counter(op for _, op in quantized)),
        "left": [{"node": name, "op": op, "why": why} for name, op, why in left],
        "session": session,
    }


def apply(model, recipe, ranges, out):
    module = importlib.import_module(f"{__package__}.{RECIPES[recipe['kind']]}")
    with beside(out):
        quantized, left, session = module.apply(model, recipe, ranges)
    if not quantized:
        # What is against nodes of the recipe's kinds says more than that others aren't.
        whys = Counter(why for _, _, why in left if "isn't for" not in why)
        reason = whys.most_common(1)[0][0] if whys else "it has no node that the recipe is for"
        raise Refused(f"nothing of the model can be quantized so: {reason}")
    return quantized, left, session
