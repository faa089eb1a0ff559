"""A model, two recipes and ranges enter, the model with some nodes static and others dynamic leaves: convolutions and an
LSTM, say.
"""

from . import dynamic, static
from .prepare import infer
from .refusal import Refused, field, known_fields


def apply(model, recipe, ranges):
    known_fields(recipe, ("kind", "static", "dynamic"))
    parts = [{**field(recipe, name, dict), "kind": name} for name in ("static", "dynamic")]
    both = set(parts[0].get("ops", ())) & set(parts[1].get("ops", ()))
    if both:
        raise Refused(f"{sorted(both)[0]} is both in the static and in the dynamic half of the recipe")
    whole = {node.name for node in model.graph.node}
    # Dynamic first: afterwards its nodes have kinds that the static half isn't for.
    taken, left, _ = dynamic.apply(model, parts[1])
    infer(model)
    more, more_left, _ = static.apply(model, parts[0], ranges)
    done = {name for name, _ in (*taken, *more)}
    # Each half says of the other's kinds that it isn't for them.
    rest = {}
    for entry in (*more_left, *left):
        if entry[0] in whole - done and (entry[0] not in rest or "isn't for" in rest[entry[0]][2]):
            rest[entry[0]] = entry
    return taken + more, list(rest.values()), {}
