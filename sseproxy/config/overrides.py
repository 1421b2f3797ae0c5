"""What do flags and environment variables set, above the file?

An override of something that routes inherit holds for ``defaults`` and for every route, so it wins over a route's
own value too. ``--upstream`` replaces the upstream of every route that has one, or makes one route for everything.
"""

import re
from collections.abc import Iterator, Mapping

from sseproxy.config.document import Document
from sseproxy.config.flags import CONFIG_VARIABLE, OVERRIDES, PREFIX, UPSTREAM, FlagValue, Override
from sseproxy.config.problems import ConfigProblem
from sseproxy.config.values import UntypedText, nearest

# Kubernetes sets these in every container of a namespace that has a service whose name begins with sseproxy.
_SERVICE_LINK = r"SSEPROXY(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"


# What stands above what, for a key that routes inherit:
#
#   flag > variable > route > defaults > the policy's own default
#
# A flag is for all routes, so it is written to ``defaults``, and the key is removed from every route, where it would
# win. Both happen in the document, before it is validated for the second time: checks and messages then see one
# configuration, and `Document.origins` says of a wrong value that it is the flag's.


def apply_overrides(document: Document, flags: Mapping[str, FlagValue], environ: Mapping[str, str]) -> None:
    """Put what flags and variables say into `document`, and remember where it comes from.

    A variable that is set to nothing counts as not set. Raises `ValueError` for a flag that there is not.
    """
    unknown = flags.keys() - {override.flag for override in OVERRIDES}
    if unknown:
        raise ValueError(f"no such flags: {sorted(unknown)}")
    for override in OVERRIDES:
        value, origin = said_by_flag(override, flags), override.flag
        if value is None:
            value, origin = said_by_variable(override, environ), override.variable
        if value is None:
            continue
        if override is UPSTREAM:
            set_upstream(document, value, origin)
        elif override.inherited:
            document.put(("defaults", *override.path), value, origin)
            for index in range(document.route_count):
                document.remove(("routes", index, *override.path))
        else:
            document.put(override.path, value, origin)


def said_by_flag(override: Override, flags: Mapping[str, FlagValue]) -> UntypedText | list[UntypedText] | None:
    """What the command line says; ``None`` if the flag was not given."""
    flag = flags.get(override.flag)
    if override.says is not None:
        flag = override.says if flag else None
    if flag is None or isinstance(flag, bool):
        return None
    if isinstance(flag, str):
        return [UntypedText(flag)] if override.several else UntypedText(flag)
    return [UntypedText(item) for item in flag] or None


def said_by_variable(override: Override, environ: Mapping[str, str]) -> UntypedText | list[UntypedText] | None:
    """What the environment says; ``None`` if the variable is not set, or set to nothing."""
    variable = environ.get(override.variable)
    if not variable:
        return None
    if override.several:
        return [UntypedText(part.strip()) for part in variable.split(",")]
    return UntypedText(variable)


def set_upstream(document: Document, value: object, origin: str) -> None:
    """Replace the upstream of every route that is not served from Redis; without routes, make one for everything."""
    # Routes that are there and wrong are not replaced: what is wrong with them must be put right.
    if not document.data.get("routes") and not document.is_broken(("routes",)):
        document.data["routes"] = [{}]
        document.origins[("routes",)] = origin
    for index in range(document.route_count):
        if ("routes", index, "redis") not in document.places:
            document.put(("routes", index, "upstream"), value, origin)


def unknown_variables(document: Document, environ: Mapping[str, str]) -> Iterator[ConfigProblem]:
    """Problems for ``SSEPROXY_*`` variables that mean nothing. Those that the file asks for are its own affair."""
    known = [*(override.variable for override in OVERRIDES), CONFIG_VARIABLE]
    for name in sorted(environ):
        asked_for = name in known or name in document.variables or re.fullmatch(_SERVICE_LINK, name)
        if name.startswith(PREFIX) and not asked_for:
            # Without what all of them begin with, which would make everything alike.
            hint = nearest(name.removeprefix(PREFIX), [word.removeprefix(PREFIX) for word in known])
            hint = hint.replace("did you mean ", f"did you mean {PREFIX}")
            yield ConfigProblem(name, 0, 0, "", "unknown variable", hint)
