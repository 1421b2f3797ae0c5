"""How do ``${NAME}`` and ``${NAME:-default}`` become what the environment says?

It happens to scalars after YAML has been parsed, so a value can never add keys or lines. ``$${`` stands for a
literal ``${``; every other dollar sign is itself. A default ends at the next ``}``.
"""

import re
from collections.abc import Mapping

from sseproxy.config.values import BadValue, UntypedText, quote
from sseproxy.core.frozen import frozen

_REFERENCE = re.compile(r"\$(?P<escape>\$\{)|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


@frozen
class Substitution:
    """The outcome. names: of the variables that were asked for; if there are none, the text keeps its YAML type."""

    text: UntypedText
    names: frozenset[str]


def substitute(text: str, environ: Mapping[str, str]) -> Substitution:
    """`text` with its references replaced.

    Errors: `BadValue` for a variable that is not set and has no default, and for a reference that is not one.
    """
    if "${" not in text:
        return Substitution(UntypedText(text), frozenset())
    names: set[str] = set()
    return Substitution(
        UntypedText(_REFERENCE.sub(lambda found: _replacement(found, environ, names), text)), frozenset(names)
    )


# A value comes from the environment with all its characters: it may hold quotes, brackets and line breaks, and was
# never YAML. That is why references are replaced in scalars, behind the parser, and not in the text of the file.


def _replacement(found: re.Match[str], environ: Mapping[str, str], names: set[str]) -> str:
    if found["escape"]:
        return found["escape"]
    inside = _INSIDE.fullmatch(found["inside"]) if found["end"] else None
    if inside is None:
        raise BadValue(f"{quote(found[0])} is not ${{NAME}} or ${{NAME:-default}}", "write $${ for a literal ${")
    names.add(inside["name"])
    value = environ.get(inside["name"])
    # As in a shell, a default also stands in for a variable that is set to nothing.
    if inside["default"] is not None:
        return value or inside["default"]
    if value is None:
        raise BadValue(f"variable {inside['name']} is not set", f"${{{inside['name']}:-default}} gives a default")
    return value
