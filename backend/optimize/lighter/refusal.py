"""What a verb says when it can't: one line, for a person. And the fields of a job, asked for by kind."""

LENGTH = 400


class Refused(Exception):
    """A reason that is the caller's to mend; its text is the whole reply."""


def one_line(text):
    line = " ".join(str(text).split())
    return line if len(line) <= LENGTH else line[: LENGTH - 1] + "…"


NOTHING = object()


def field(job, name, kind, default=NOTHING, among=None):
    """The job's field of that kind; `among` says which values are known."""
    value = job.get(name, default)
    if value is NOTHING:
        raise Refused(f"the job has no {name!r}")
    if value is default:
        return value
    # A bool is an int in Python, and in no job.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused(f"{name!r} must be {kinds(kind)}, not {value!r}")
    if among is not None and value not in among:
        raise Refused(f"{name!r} must be one of {', '.join(map(str, among))}, not {value!r}")
    return value


def names(job, name, default=NOTHING):
    value = field(job, name, list, default)
    if not all(isinstance(entry, str) for entry in value):
        raise Refused(f"{name!r} must be a list of names")
    return list(value)


def known_fields(job, known):
    unknown = sorted(set(job) - set(known))
    if unknown:
        raise Refused(f"unknown field {unknown[0]!r}; known are {', '.join(known)}")


def kinds(kind):
    words = {
        str: "a text",
        int: "a whole number",
        float: "a number",
        list: "a list",
        dict: "an object",
        bool: "true or false",
    }
    return " or ".join(words[one] for one in (kind if isinstance(kind, tuple) else (kind,)))
