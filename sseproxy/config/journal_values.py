"""What may a value say of a journal, and what does it mean?

Like `values`: every function takes a value as YAML gave it, and returns what it means or raises `BadValue`.
"""

import re
from collections.abc import Iterable

from sseproxy.config import values
from sseproxy.config.authorize import taken_name
from sseproxy.config.browser_values import cookie_name
from sseproxy.config.urls import match_path
from sseproxy.config.values import BadValue, describe, nearest, quote
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import belongs_to_connection
from sseproxy.core.journal.positions import QUERY_NAMES
from sseproxy.core.journal.rules import Detach, Part, PartKind
from sseproxy.core.stream.plan import StreamKind

#: In place of a login: all clients read the same.
ANYONE = "anyone"

#: What an attempt to reach an upstream again may be counted up to.
_MOST_ATTEMPTS = 1000

_KINDS = (StreamKind.ANSWER, StreamKind.FEED)
#: Parts that stand for themselves.
_WITHOUT_NAME = (PartKind.RUN, PartKind.URL)
_OF_KEYS = (PartKind.QUERY, PartKind.HEADER, PartKind.COOKIE, PartKind.BODY, PartKind.AUTH)
_OF_LOGINS = (PartKind.HEADER, PartKind.COOKIE, PartKind.AUTH)

#: Methods that browsers and crawlers send although no user has asked for them.
_UNASKED = ("GET", "HEAD", "OPTIONS")

_VALUE = re.compile(r"\{([^{}]*)\}")
_PLACES = {"{run}": False, "{key}": True}


@frozen
class RunPath:
    """A path with a place for the name of a run, or for a key. before, behind: what is around that place."""

    before: str
    behind: str
    is_by_key: bool

    def __str__(self) -> str:
        return f"{self.before}{'{key}' if self.is_by_key else '{run}'}{self.behind}"

    def is_like(self, other: "RunPath") -> bool:
        """True if both match the same paths."""
        return (self.before, self.behind) == (other.before, other.behind)

    def takes(self, path: str) -> bool:
        """True if the normalised `path` matches."""
        pairs = list(zip(str(self).split("/"), path.split("/"), strict=False))
        is_as_long = str(self).count("/") == path.count("/")
        return is_as_long and all(mine == other or (mine in _PLACES and bool(other)) for mine, other in pairs)

    def is_below(self, prefix: str) -> bool:
        """True if some path that matches has `prefix`, by whole segments, and more behind it."""
        segments, wanted = str(self).split("/"), prefix.split("/")
        pairs = zip(segments, wanted, strict=False)
        return len(segments) > len(wanted) and all(segment in (want, *_PLACES) for segment, want in pairs)


def kind(value: object) -> StreamKind:
    """What a journal keeps: answers, or feeds."""
    if isinstance(value, str) and value in _KINDS:
        return StreamKind(str(value))
    hint = nearest(value.lower(), _KINDS) if isinstance(value, str) else ""
    raise BadValue(f"expected answer or feed, got {describe(value)}", hint)


def key_part(value: object) -> Part:
    """One part of what names a stream."""
    written = values.line(value)
    if written in _WITHOUT_NAME:
        return Part(PartKind(written))
    return _named(written, _OF_KEYS, [*_WITHOUT_NAME, *_OF_KEYS])


def login_part(value: object) -> Part:
    """One part of what says who may read."""
    written = values.line(value)
    if written == ANYONE:
        raise BadValue("anyone stands for all logins, and beside no other", f"login: {ANYONE}")
    return _named(written, _OF_LOGINS, [*_OF_LOGINS, ANYONE])


def _named(written: str, kinds: Iterable[PartKind], forms: Iterable[str]) -> Part:
    """A part with a name behind its colon. forms: the words that can stand there, for messages."""
    word, colon, name = written.partition(":")
    if not colon or word not in list(kinds):
        alone = [form for form in forms if form in (*_WITHOUT_NAME, ANYONE)]
        shown = [form if form in alone else f"{form}:NAME" for form in forms]
        hint = f"name it: {word}:NAME" if word in list(kinds) else nearest(word, kinds if colon else alone)
        raise BadValue(f"expected {', '.join(shown[:-1])} or {shown[-1]}, got {describe(written)}", hint)
    part = Part(PartKind(word), name)
    if part.kind is PartKind.HEADER:
        values.field_name(name)
        if belongs_to_connection(name):
            raise BadValue(f"{name} belongs to the connection and says nothing of the client")
    elif part.kind is PartKind.COOKIE:
        cookie_name(name)
    elif part.kind is PartKind.AUTH:
        taken_name(name)
    elif not name:
        raise BadValue(f"{quote(written)} needs a name behind the colon")
    if names_a_position(part):
        raise BadValue(f"{name} says where a client is, not which stream it reads")
    return part


def names_a_position(part: Part) -> bool:
    """True if clients say there which events they have."""
    if part.kind is PartKind.HEADER:
        return part.name.lower() == "last-event-id"
    return part.kind is PartKind.QUERY and part.name.encode() in QUERY_NAMES


def listed_logins(value: object) -> object:
    """No parts for the word ``anyone``; else a list of them."""
    if value == []:
        raise BadValue("must not be empty", f"{ANYONE}, if all may read")
    return () if value == ANYONE else [value] if isinstance(value, str) else value


def detach(value: object) -> float | Detach:
    """Seconds without a reader, or a word."""
    if value in (Detach.END, Detach.OFF):
        return Detach(str(value))
    try:
        return values.limited_duration(value)
    except BadValue as error:
        raise BadValue(error.message, error.hint.replace(" or off", ", end or off")) from None


def format_detach(value: float | Detach) -> str:
    """The text that `detach` reads as `value`."""
    return value.value if isinstance(value, Detach) else values.format_duration(value)


def attempts(value: object) -> int:
    """How often a broken upstream is asked again; ``off`` is 0."""
    if value == "off":
        return 0
    if value == 0 and not isinstance(value, bool):
        raise BadValue("must be at least 1", "off switches it off")
    return values.whole_number(value, least=1, most=_MOST_ATTEMPTS)


def run_path(value: object) -> RunPath:
    """A path, one whole segment of which is the name of a run or a key."""
    written = values.line(value)
    found = _VALUE.findall(written)
    if len(found) != 1 or f"{{{found[0]}}}" not in _PLACES:
        raise BadValue(f"needs one {{run}} or one {{key}}, got {describe(written)}", "such as /runs/{run}")
    place = f"{{{found[0]}}}"
    segments = written.split("/")
    if place not in segments:
        raise BadValue(f"{place} must be a whole segment of the path, between slashes", "such as /runs/{run}/events")
    if not any(segment not in ("", place) for segment in segments):
        raise BadValue("would take every path of one segment", f"put one before it: /runs/{place}")
    # What stands for the value must itself be as it is in a normalised path.
    match_path(written.replace(place, "x"))
    before, _, behind = written.partition(place)
    return RunPath(before, behind, _PLACES[place])


def stopping_method(value: object) -> str:
    """A method that stops a run: one that is sent only because a user wants it."""
    found = values.method(value)
    if found in _UNASKED:
        raise BadValue(f"{found} cannot stop a run: it is sent unasked, by what loads pages ahead", "such as POST")
    return found
