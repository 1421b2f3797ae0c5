"""How do file, environment and command line become one `Config`, or a list of all that is wrong?

Flags win over ``SSEPROXY_*`` variables, those over the file, that over the defaults (contract section 3).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sseproxy.config.browser_checks import check_browsers
from sseproxy.config.build import build_config
from sseproxy.config.checks import check_server
from sseproxy.config.document import Document, read_document, unknown_key_hint
from sseproxy.config.effective import effective_routes
from sseproxy.config.flags import CONFIG_VARIABLE, FlagValue
from sseproxy.config.overrides import apply_overrides, unknown_variables
from sseproxy.config.problems import ConfigErrors, Path, in_reading_order
from sseproxy.config.route_checks import check_routes
from sseproxy.config.schema import FileSchema, places_below, section_at
from sseproxy.config.settings import Config
from sseproxy.config.values import BadValue, BadValues, describe
from sseproxy.config.warnings import warn


def load(path: FilePath | None, *, flags: Mapping[str, FlagValue], environ: Mapping[str, str]) -> Config:
    """The configuration.

    path: the file, else what ``SSEPROXY_CONFIG`` names, else none. flags: by name, as in `overrides.OVERRIDES`.
    Errors: `ConfigErrors` with everything that is wrong, if anything is.
    """
    if path is None and environ.get(CONFIG_VARIABLE):
        path = FilePath(environ[CONFIG_VARIABLE])
    folder = FilePath() if path is None else path.parent
    document = Document() if path is None else read_document(path, environ)
    _validate(document)
    apply_overrides(document, flags, environ)
    file = _validate(document)
    routes = effective_routes(file)
    if () not in document.broken:
        check_server(document, file, folder)
        check_routes(document, file, routes, folder)
        check_browsers(document, file, routes)
    problems = [*document.problems, *unknown_variables(document, environ)]
    if problems:
        raise ConfigErrors(problems)
    warn(document, file, routes)
    return replace(build_config(file, routes, folder), warnings=tuple(in_reading_order(document.warnings)))


def _validate(document: Document) -> FileSchema:
    """All of `document` that fits the schema; the rest is noted and taken out."""
    try:
        return FileSchema.model_validate(document.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _note(document, details)
        return FileSchema.model_validate(document.data)


def _note(document: Document, details: ErrorDetails) -> None:
    path = tuple(part for part in details["loc"] if part != "[key]")
    if path[:-1] in document.places and document.places[path[:-1]].is_scalar and len(path) > 1:
        path = path[:-1]  # a word in place of a mapping
    if not any(path[: len(wrong)] == wrong for wrong in document.broken):
        for error in _errors(details, path):
            at = document.shown((*path, *error.below))
            document.problem(at, error.message, error.hint, at_key="[key]" in details["loc"] or error.is_key)
        document.broken.add(path)
    _take_out(document.data, path)


def _errors(details: ErrorDetails, path: Path) -> tuple[BadValue, ...]:
    """What is wrong, and how to put it right."""
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
    return (BadValue(f"expected {expected}, got {describe(value)}", _shape_hint(expected, value)),)


def _shape_hint(expected: str, value: object) -> str:
    return f"[{value}]" if expected == "a list" and isinstance(value, str) and value.isalnum() else ""


def _take_out(data: Any, path: Path) -> None:
    """Remove what stands at `path`, with the whole list around it; a route that is none becomes an empty one."""
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
