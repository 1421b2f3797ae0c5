"""Which stream or channel does a request read? Its name may hold values of the request: ``inbox:{auth:user}``."""

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeAlias

from sseproxy.core.errors import BadRequest, SSEProxyError, Unavailable
from sseproxy.core.frozen import frozen


class TemplateKind(StrEnum):
    """Where a value comes from."""

    AUTH = "auth"  # the answer of `authorize`
    COOKIE = "cookie"
    QUERY = "query"
    HEADER = "header"


#: All values of that kind and name in a request.
Lookup: TypeAlias = Callable[[TemplateKind, str], Sequence[bytes]]

#: Bytes of a value at most.
_LONGEST = 256

#: Seconds after which a client may ask again whose `authorize` has answered nonsense.
_RETRY_AFTER = 5

#: What may be a value. Names without a colon between braces are literal: the hash tags of a cluster.
_BRACES = re.compile(r"\{([^{}:]*):([^{}]*)\}")

#: A value in whose place a typing error would be literal.
_UNCLOSED = re.compile(r"\{(?:auth|cookie|query|header):")

#: RFC 9110 section 5.6.2: the names of header fields and of cookies.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: Wildcards of subscriptions and patterns, hash tags of a cluster, and controls.
_BAD = re.compile(rb"[*?\[\]{}\x00-\x1f\x7f]")


class BadTemplate(ValueError):
    """A name in the configuration cannot be read; the message says why."""


@frozen
class Value:
    """A part of a name that a request fills in."""

    kind: TemplateKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@frozen
class Template:
    """A name with its literal parts and its values, in order."""

    text: str
    parts: tuple[bytes | Value, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read ``literal{kind:name}literal``. Raise `BadTemplate`.

        Braces without a colon, such as the hash tags of a cluster, are literal.
        """
        parts: list[bytes | Value] = []
        end = 0
        for found in _BRACES.finditer(text):
            parts += _literal(text[end : found.start()]), _value(found[1], found[2])
            end = found.end()
        parts.append(_literal(text[end:]))
        if not text:
            raise BadTemplate("a name must not be empty")
        return cls(text, tuple(part for part in parts if part))

    @property
    def values(self) -> tuple[Value, ...]:
        """What a request fills in."""
        return tuple(part for part in self.parts if isinstance(part, Value))

    def resolve(self, lookup: Lookup) -> bytes:
        """Return the name for one request.

        Raise `BadRequest` if a value is missing, repeated or bad, `Unavailable` if it is one of `authorize`.
        """
        forbids_colons = len(self.values) > 1
        return b"".join(
            _checked(part, lookup(part.kind, part.name), forbids_colons) if isinstance(part, Value) else part
            for part in self.parts
        )


def _literal(text: str) -> bytes:
    encoded = text.encode()
    if re.search(rb"[\x00-\x1f\x7f]", encoded):
        raise BadTemplate("a name must not have control characters")
    if _UNCLOSED.search(text):
        raise BadTemplate(f"a brace in {text!r} is not closed")
    return encoded


def _value(kind: str, name: str) -> Value:
    if kind not in list(TemplateKind):
        known = ", ".join(TemplateKind)
        raise BadTemplate(f"{{{kind}:{name}}} is none of the values that a name can have: {known}")
    if not name or name != name.strip():
        raise BadTemplate(f"{{{kind}:{name}}} needs a name behind the colon")
    if kind in (TemplateKind.COOKIE, TemplateKind.HEADER) and not _TOKEN.fullmatch(name):
        raise BadTemplate(f"{{{kind}:{name}}}: {name!r} is not the name of a {kind}")
    return Value(TemplateKind(kind), name)


def _checked(value: Value, found: Sequence[bytes], forbids_colons: bool) -> bytes:
    """The one value, if it is fit for a name. Values with colons could pretend to be several: ``a:b`` + ``c``."""
    if len(found) != 1:
        raise _refused(value, "is missing" if not found else "is there more than once")
    text = found[0]
    if not 1 <= len(text) <= _LONGEST:
        raise _refused(value, f"must have 1 to {_LONGEST} bytes")
    if _BAD.search(text) or (forbids_colons and b":" in text):
        raise _refused(value, "has characters that it must not have")
    return text


def _refused(value: Value, why: str) -> SSEProxyError:
    """The client must not hear what `authorize` says, and is not to blame for it."""
    if value.kind is TemplateKind.AUTH:
        cause = f"the value of {value} {why}"
        return Unavailable("The service that names users gave no usable answer.", retry_after=_RETRY_AFTER, cause=cause)
    return BadRequest(f"The {value.kind} {value.name!r} {why}.")
