"""A model, a recipe and samples enter, a model with fewer trees, narrower layers or fewer heads leaves: less to compute,
not zeros.
"""

from . import ffn, heads, trees
from .model import load, save
from .prepare import prepare
from .refusal import field, known_fields
from .session import open_, options

RECIPES = {"trees": trees.prune, "width": ffn.prune, "heads": heads.prune}


def run(job):
    known_fields(job, ("model", "out", "recipe", "samples", "count", "threads", "memory_bytes"))
    recipe, out = field(job, "recipe", dict), field(job, "out", str)
    kind = field(recipe, "kind", str, among=RECIPES)
    model = load(field(job, "model", str))
    prepare(model)
    reply = RECIPES[kind](model, recipe, field(job, "samples", str, None), job)
    # A variant that doesn't load is none.
    open_(model, options(1))
    save(model, out)
    return reply
