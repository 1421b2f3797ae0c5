"""Which flags and environment variables stand above the file, and what do they set?

An override of something that routes inherit holds for ``defaults`` and for every route, so it wins over a route's
own value too. ``--upstream`` replaces the upstream of every route, or makes one route for everything.
"""

import re
from collections.abc import Iterator, Mapping

from sseproxy.config.document import Document
from sseproxy.config.flags import CONFIG_VARIABLE, OVERRIDES, PREFIX, UPSTREAM, FlagValue, Override
from sseproxy.config.problems import ConfigProblem, Path
from sseproxy.config.values import UntypedText, nearest

# Kubernetes sets these in every container of a namespace that has a service whose name begins with sseproxy.
_SERVICE_LINK = re.compile(
    r"SSEPROXY(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def apply_overrides(document: Document, flags: Mapping[str, FlagValue], environ: Mapping[str, str]) -> None:
    """Put what flags and variables say into `document`, and remember where it comes from.

    A variable that is set to nothing counts as not set.
    """
    unknown = flags.keys() - {override.flag for override in OVERRIDES}
    if unknown:
        raise ValueError(f"no such flags: {sorted(unknown)}")
    for override in OVERRIDES:
        for origin, said in _given(override, flags, environ):
            _apply(document, override, said, origin)


def unknown_variables(document: Document, environ: Mapping[str, str]) -> Iterator[ConfigProblem]:
    """Problems for ``SSEPROXY_*`` variables that mean nothing. Those that the file asks for are its own affair."""
    known = [*(override.variable for override in OVERRIDES), CONFIG_VARIABLE]
    for name in sorted(environ):
        asked_for = name in known or name in document.variables or _SERVICE_LINK.fullmatch(name)
        if name.startswith(PREFIX) and not asked_for:
            yield ConfigProblem(name, 0, 0, "", "unknown variable", _nearest_variable(name, known))


def _nearest_variable(name: str, known: list[str]) -> str:
    # Without what all of them begin with, which would make everything alike.
    hint = nearest(name.removeprefix(PREFIX), [word.removeprefix(PREFIX) for word in known])
    return hint.replace("did you mean ", f"did you mean {PREFIX}")


def _given(
    override: Override, flags: Mapping[str, FlagValue], environ: Mapping[str, str]
) -> list[tuple[str, str | list[UntypedText]]]:
    """The one value that holds, with its origin, or nothing."""
    flag = flags.get(override.flag)
    if override.says is not None:
        flag = override.says if flag else None
    if isinstance(flag, str):
        flag = [flag] if override.several else UntypedText(flag)
    if flag is not None and not isinstance(flag, bool) and (isinstance(flag, str) or list(flag)):
        return [(override.flag, flag if isinstance(flag, str) else [UntypedText(item) for item in flag])]
    variable = environ.get(override.variable)
    if not variable:
        return []
    parts = [UntypedText(part.strip()) for part in variable.split(",")]
    return [(override.variable, parts if override.several else UntypedText(variable))]


def _apply(document: Document, override: Override, value: object, origin: str) -> None:
    if override is UPSTREAM:
        _set_upstream(document, value, origin)
    elif override.inherited:
        _set(document, ("defaults", *override.path), value, origin)
        for index in range(_route_count(document)):
            _forget(document, ("routes", index, *override.path))
    else:
        _set(document, override.path, value, origin)


def _set_upstream(document: Document, value: object, origin: str) -> None:
    routes = document.data.get("routes")
    if not routes and not document.is_broken(("routes",)):
        document.data["routes"] = [{}]
        document.origins[("routes",)] = origin
    for index in range(_route_count(document)):
        _set(document, ("routes", index, "upstream"), value, origin)


def _route_count(document: Document) -> int:
    routes = document.data.get("routes")
    return len(routes) if isinstance(routes, list) else 0


def _set(document: Document, path: Path, value: object, origin: str) -> None:
    """Put `value` at `path`; what was there, and what was found wrong with it, holds no longer."""
    parent = _descend(document.data, path[:-1])
    if parent is not None:
        parent[path[-1]] = value
        document.origins[path] = origin
        document.broken -= {wrong for wrong in document.broken if wrong[: len(path)] == path}


def _descend(data: object, path: Path) -> dict[str | int, object] | None:
    """The mapping at `path`; sections that are left out on the way are made."""
    for part in path:
        if isinstance(data, dict):
            if data.get(part) is None:
                data[part] = {}
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int):
            if data[part] is None:
                data[part] = {}
            data = data[part]
    return data if isinstance(data, dict) else None


def _forget(document: Document, path: Path) -> None:
    data: object = document.data
    for part in path[:-1]:
        if isinstance(data, list) and isinstance(part, int):
            data = data[part]
        elif isinstance(data, dict):
            data = data.get(str(part))
    if isinstance(data, dict):
        data.pop(path[-1], None)
        document.places.pop(path, None)
