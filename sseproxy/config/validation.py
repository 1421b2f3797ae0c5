"""Which parts of a document fit the schema, and what is wrong with the rest?"""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sseproxy.config.document import Document
from sseproxy.config.problems import Path
from sseproxy.config.schema import FileSchema, places_below, section_at
from sseproxy.config.values import BadValue, BadValues, describe, nearest, without_login

#: Keys that are likely to be tried where they are unknown, and what this version has to say to that.
_WITH_RUNS_IN_REDIS = "not in this version: it is for runs in Redis, and they live in the memory of one process"
_KNOWN_ELSEWHERE = {
    "journal": "each route has its own: routes[].journal",
    "lease": _WITH_RUNS_IN_REDIS,
    "runs": _WITH_RUNS_IN_REDIS,
    "without_store": _WITH_RUNS_IN_REDIS,
}

#: Sections in whose place one value is likely to be tried, and the key that it is meant for.
_MEANT_FOR = {"heartbeat": "interval", "match": "prefix", "rewrite": "strip_prefix", "redis": "stream"}

#: What other servers call the two parts of `listen`.
_OF_LISTEN = frozenset({"host", "port", "bind", "address"})


def validate(document: Document) -> FileSchema:
    """All of `document` that fits the schema. The rest is noted in its `problems` and taken out of its `data`."""
    try:
        return FileSchema.model_validate(document.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            note(document, details)
        # What is left is right, and defaults stand in for what is gone: checks find more in it than in nothing.
        return FileSchema.model_validate(document.data)


def note(document: Document, details: ErrorDetails) -> None:
    """Turn one of pydantic's errors into problems, and take out the value that it is about."""
    path = tuple(part for part in details["loc"] if part != "[key]")
    if path[:-1] in document.places and document.places[path[:-1]].is_scalar and len(path) > 1:
        path = path[:-1]  # a word in place of a mapping
    # An error below another one is a consequence of it.
    if not any(path[: len(wrong)] == wrong for wrong in document.broken):
        for error in errors_in(details, path):
            at = document.shown((*path, *error.below))
            document.problem(at, error.message, error.hint, at_key="[key]" in details["loc"] or error.is_key)
        document.broken.add(path)
    take_out(document.data, path)


def errors_in(details: ErrorDetails, path: Path) -> tuple[BadValue, ...]:
    """What is wrong at `path`, and how to put it right."""
    error = details.get("ctx", {}).get("error")
    if isinstance(error, BadValues):
        return error.errors
    if isinstance(error, BadValue):
        return (error,)
    if details["type"] == "extra_forbidden":
        section, key = section_at(path[:-1]), str(path[-1])
        hint = unknown_key_hint(key, list(section.model_fields), places_below(section, key))
        return (BadValue("unknown key", hint, is_key=True),)
    expected, value = "a list" if details["type"] in ("tuple_type", "list_type") else "a mapping", details["input"]
    hint = ""
    if expected == "a list" and isinstance(value, str) and value.isalnum():
        hint = f"[{value}]"
    elif expected == "a mapping" and isinstance(value, str) and path[-1] in _MEANT_FOR:
        hint = f"did you mean {{{_MEANT_FOR[str(path[-1])]}: {without_login(value)}}}?"
    return (BadValue(f"expected {expected}, got {describe(value)}", hint),)


def unknown_key_hint(key: str, known: list[str], below: list[str]) -> str:
    """Where the key belongs, one level deeper; else the nearest right key, or all of them where none is near."""
    if key in _KNOWN_ELSEWHERE:
        return _KNOWN_ELSEWHERE[key]
    if key in _OF_LISTEN and "listen" in known:
        return "listen: HOST:PORT has both"
    if below:
        return f"did you mean {' or '.join(below)}?"
    return nearest(key, known) or (f"one of {', '.join(known)}" if known else "")


def take_out(data: Any, path: Path) -> None:
    """Remove what stands at `path`, with the whole list around it; a route that is none becomes an empty one."""
    # The routes behind it keep their numbers, which messages name.
    if len(path) == 2 and path[0] == "routes":
        data["routes"][path[1]] = {}
        return
    while path and isinstance(path[-1], int):
        path = path[:-1]
    for part in path[:-1]:
        if isinstance(data, dict) and part not in data:
            return
        data = data[part]
    data.pop(path[-1], None)
