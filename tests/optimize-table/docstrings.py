"""Docstrings of packages: English that is about something."""

import ast
import re


def pairs(place):
    """What documented functions and classes are said to do: their first sentence, and what follows it."""
    found = {}
    for path in place.files(place.material, ".py"):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                text = ast.get_docstring(node) or ""
                first, _, rest = text.partition("\n\n")
                first, rest = words(first), words(rest.partition("\n\n")[0])
                if len(first) >= 5 and len(rest) >= 12:
                    found.setdefault(" ".join(first), " ".join(rest))
    return sorted(found.items())


def words(text):
    """Words without markup."""
    return re.sub(r"[`*:|_=~-]{2,}|[`*|]", " ", text).split()


def lines(place, least, most):
    """Lines of that many letters, of those that any font has."""
    found = {}
    for pair in pairs(place):
        for text in pair:
            line = ""
            for word in text.split():
                if not re.fullmatch(r"[A-Za-z0-9.,;:'()%+/-]+", word):
                    continue
                if len(line) + len(word) < most:
                    line = f"{line} {word}".strip()
                    continue
                if len(line) >= least:
                    found.setdefault(line)
                line = word
    return sorted(found)
