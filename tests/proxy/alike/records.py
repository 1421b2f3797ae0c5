"""What has reached the upstream and the client in one case, and where do two doors differ in it?"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tests.proxy.alike.cases import Fields, Framing

#: Fields of the connection, and not of the message.
_OF_THE_CONNECTION = frozenset((b"date", b"connection", b"keep-alive", b"transfer-encoding"))

#: What is random: what tells proxies from each other, ids of requests, of ends, of tickets and runs, positions in runs.
_RANDOM = (
    (re.compile(rb"\bsseproxy-[0-9a-f]{12}\b"), b"sseproxy-test"),
    (re.compile(rb"\b[0-9a-f]{12}-[0-9a-f]{1,6}\b"), b"made-here"),
    (re.compile(rb"sseproxy-end-[A-Za-z0-9_-]{40}"), b"END"),
    (re.compile(rb"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{20,40}\.[A-Za-z0-9_-]+-(\d+)"), rb"POSITION-\1"),
    (re.compile(rb"(_tickets/|_runs/\w+/|ticket\": \")[A-Za-z0-9_-]+"), rb"\1ID"),
)

_TOO_LARGE = 413

#: Heartbeats: how many there are is a matter of time.
_HEARTBEAT = re.compile(rb": heartbeat\r?\n(\r?\n)?")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request as it has reached the upstream. fields: with names as they were spelled. framed: what by.

    is_whole: its body was complete. left: the proxy has closed the connection before the answer was.
    """

    method: str
    target: bytes
    fields: Fields
    framed: Framing
    body: bytes = b""
    is_whole: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as it has reached the client. status: 0 if none came. asked: a 100 asked for the body before it.

    has_end: its end was a clean one. is_again: it came only on another connection; the first was closed without a word.
    to_10: the client speaks HTTP/1.0.
    """

    status: int = 0
    fields: Fields = ()
    body: bytes = b""
    has_end: bool = False
    asked: bool = False
    is_again: bool = False
    to_10: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of one case behind one door."""

    arrived: tuple[Arrived, ...] = ()
    replies: tuple[Reply, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place in which two outcomes differ. where: such as ``replies[1].status``."""

    where: str
    ours: object = field(compare=False)
    theirs: object = field(compare=False)

    def __str__(self) -> str:
        return f"{self.where}\n    own server: {shown(self.ours)}\n    this door:  {shown(self.theirs)}"


@dataclass(frozen=True, slots=True)
class Leeway:
    """What a server does to any message.

    in_lower_case: the names of the client's fields. regroups: it puts fields of one name side by side.
    adds: fields of responses. asks: for each body that waits to be asked for.
    closes_to_10: where a response to HTTP/1.0 breaks off, the connection is closed as behind a whole one.
    """

    in_lower_case: bool = False
    regroups: bool = False
    adds: frozenset[bytes] = frozenset()
    asks: bool = False
    closes_to_10: bool = False


def differences(ours: Outcome, theirs: Outcome, leeway: Leeway) -> list[Difference]:
    """Where the outcome behind another door differs from that behind our own server."""
    if leeway.closes_to_10:
        pairs = zip(ours.replies, theirs.replies, strict=True)
        theirs = replace(theirs, replies=tuple(_with_end_of(*pair) for pair in pairs))
    return list(_between("", _comparable(ours, leeway), _comparable(theirs, leeway)))


def _with_end_of(ours: Reply, theirs: Reply) -> Reply:
    """Where ours breaks off, a clean end is forgiven to a client that would not notice a broken one."""
    return replace(theirs, has_end=theirs.has_end and (ours.has_end or not ours.to_10))


def _between(where: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if isinstance(ours, tuple) and where.endswith(("arrived", "replies")):
        if len(ours) != len(theirs):
            yield Difference(f"number of {where}", len(ours), len(theirs))
        for number, pair in enumerate(zip(ours, theirs, strict=False)):
            yield from _between(f"{where}[{number}]", *pair)
    elif isinstance(ours, (Outcome, Arrived, Reply)):
        for each in fields(ours):
            pair = getattr(ours, each.name), getattr(theirs, each.name)
            yield from _between(f"{where}.{each.name}".lstrip("."), *pair)
    elif where.endswith(".fields"):
        counted, found = Counter(ours), Counter(theirs)
        if counted != found:
            yield Difference(where, list((counted - found).elements()), list((found - counted).elements()))
        elif ours != theirs:
            yield Difference(f"order of {where}", ours, theirs)
    elif ours != theirs:
        yield Difference(where, ours, theirs)


def _comparable(outcome: Outcome, leeway: Leeway) -> Outcome:
    arrived = outcome.arrived
    if any(each.status == _TOO_LARGE for each in outcome.replies):
        arrived = tuple(
            each for each in arrived if each.is_whole
        )  # a matter of time: was it begun before that was seen?
    arrived = tuple(replace(each, fields=_arrived(each.fields, leeway)) for each in arrived)
    replies = (
        replace(
            each,
            fields=_answered(each.fields, leeway),
            body=_constant(each.body),
            asked=each.asked and not leeway.asks,
        )
        for each in outcome.replies
    )
    return Outcome(arrived, tuple(replies))


def _arrived(found: Fields, leeway: Leeway) -> Fields:
    named = [(name.lower() if leeway.in_lower_case else name, _constant(value)) for name, value in found]
    return tuple(sorted(named, key=lambda each: each[0]) if leeway.regroups else named)


def _answered(found: Fields, leeway: Leeway) -> Fields:
    named = sorted(((name.lower(), _constant(value)) for name, value in found), key=lambda each: each[0])
    out = _OF_THE_CONNECTION | leeway.adds
    if (b"content-type", b"application/problem+json") in named:
        out |= {b"content-length"}  # it holds the id of the request
    return tuple(each for each in named if each[0] not in out)


def _constant(data: bytes) -> bytes:
    for pattern, name in _RANDOM:
        data = pattern.sub(name, data)
    return _HEARTBEAT.sub(b"", data)


def shown(value: object) -> str:
    """`value`, not too long to be read."""
    text = repr(value)
    return text if len(text) < 600 else f"{text[:300]} … {text[-200:]} ({len(text)} characters)"
