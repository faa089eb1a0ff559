"""A verb and its job enter, a reply and an exit code leave: every failure becomes one line here, and nowhere else."""

import importlib
import json

from . import bounds
from .refusal import Refused, one_line

# Verb: the module that has `run(job)`, imported when it is called: a broken library harms only what needs it.
VERBS = {
    "versions": "versions",
    "inspect": "inspection",
    "prepare": "prepare",
    "rewrite": "rewrites",
    "profile": "profile",
    "ranges": "ranges",
    "sensitivity": "sensitivity",
    "quantize": "quantize",
    "prune": "prune",
}

# A job is paths, names and numbers.
JOB_BYTES = 16 << 20


def call(arguments, stdin):
    try:
        if len(arguments) != 1 or arguments[0] not in VERBS:
            raise Refused(f"one verb is wanted: {', '.join(VERBS)}")
        job = read(stdin)
        bounds.set_memory(job)
        return importlib.import_module(f"{__package__}.{VERBS[arguments[0]]}").run(job), 0
    except Refused as refused:
        return {"error": one_line(refused)}, 1
    except UnicodeError:
        return {"error": "a name in the model is no UTF-8"}, 1
    except MemoryError:
        return {"error": f"{arguments[0]} wants more memory than it may have"}, 1
    except Exception as error:  # noqa: BLE001  A library may raise anything; the caller wants a line.
        line = one_line(error)
        if "bad_alloc" in line or "Failed to allocate memory" in line:
            return {"error": f"{arguments[0]} wants more memory than it may have"}, 1
        return {"error": one_line(f"{arguments[0]} failed: {type(error).__name__}: {error}")}, 1


def read(stdin):
    text = stdin.read(JOB_BYTES + 1)
    if len(text) > JOB_BYTES:
        raise Refused(f"the job is larger than {JOB_BYTES >> 20} MiB")
    try:
        job = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the job is no JSON: {error}") from error
    if not isinstance(job, dict):
        raise Refused("the job must be a JSON object")
    return job
