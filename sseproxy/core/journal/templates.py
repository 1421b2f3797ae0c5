"""Which stream or channel does a request read? Its name may hold values of the request: ``inbox:{auth:user}``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class TemplateKind(StrEnum):
    """Where a value comes from."""

    AUTH = "auth"  # the answer of `authorize`
    COOKIE = "cookie"
    QUERY = "query"
    HEADER = "header"


#: All values of that kind and name in a request.
Lookup: TypeAlias = Callable[[TemplateKind, str], Sequence[bytes]]


class BadTemplate(ValueError):
    """A name in the configuration cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Value:
    """A part of a name that a request fills in."""

    kind: TemplateKind
    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A name with its literal parts and its values, in order."""

    text: str
    parts: tuple[bytes | Value, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read ``literal{kind:name}literal``. Raise `BadTemplate`.

        Braces without a colon, such as the hash tags of a cluster, are literal.
        """
        raise NotImplementedError

    @property
    def values(self) -> tuple[Value, ...]:
        """What a request fills in."""
        return tuple(part for part in self.parts if isinstance(part, Value))

    def resolve(self, lookup: Lookup) -> bytes:
        """Return the name for one request.

        Raise `BadRequest` if a value is missing, repeated or bad, `Unavailable` if it is one of `authorize`.
        """
        raise NotImplementedError
