"""How is a run written as bytes, and read again?

A line of JSON, in which bytes stand as Latin-1, and behind it the texts of all events. Nothing that is read is ever
executed or imported.
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.image import RunImage, RunOwner
from sseproxy.core.journal.positions import Mark
from sseproxy.core.journal.run import RunEnd, RunHead
from sseproxy.core.journal.window import Block, Break, Entry
from sseproxy.core.stream.transfer import CloseReason


def line(values: dict[str, Any]) -> bytes:
    """Return a mapping as one line of JSON."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_line(file: BinaryIO) -> dict[str, Any]:
    """Return the mapping of the next line. Raises `ValueError` if there is none."""
    values = json.loads(file.readline())
    if not isinstance(values, dict):
        raise ValueError("A line is no mapping.")  # noqa: TRY004 - what is wrong is the file
    return values


def text_of(value: bytes) -> str:
    """Return bytes as JSON can hold them."""
    return value.decode("latin-1")


def bytes_of(value: str) -> bytes:
    """Return what `text_of` has made a text."""
    return value.encode("latin-1")


def write_run(image: RunImage) -> Iterator[bytes]:
    """Yield the bytes of a run, piece by piece."""
    owner, head, end, last_own_id = image.belongs, image.head, image.end, image.last_own_id
    fields = [] if head is None else [(text_of(name), text_of(value)) for name, value in head.fields]
    yield line(
        {
            "name": text_of(image.name),
            "route": owner.route,
            "digests": [text_of(owner.scope), text_of(owner.login), text_of(owner.owner)],
            "is_answer": owner.is_answer,
            "is_newest": owner.is_newest,
            "token": image.token,
            "seq": image.seq,
            "head": head and [head.status, text_of(head.reason), fields],
            "base": image.base,
            "broken": image.broken,
            "entries": [describe_entry(entry, age) for entry, age in image.entries],
            "own_ids": [(text_of(own_id), mark) for own_id, mark in image.own_ids],
            "last_own_id": None if last_own_id is None else text_of(last_own_id),
            "is_named": image.is_named,
            "end": end and [end.mark, end.reason, end.is_clean],
            "rested": image.rested,
        }
    )
    for entry, _ in image.entries:
        yield entry.text


def read_run(file: BinaryIO) -> RunImage:
    """Read what `write_run` has written.

    Raises one of `LookupError`, `TypeError` and `ValueError` for anything else.
    """
    values = read_line(file)
    scope, login, owner = map(bytes_of, values["digests"])
    head, end, last_own_id = values["head"], values["end"], values["last_own_id"]
    return RunImage(
        bytes_of(values["name"]),
        RunOwner(values["route"], scope, login, owner, values["is_answer"], values["is_newest"]),
        values["token"],
        values["seq"],
        head and RunHead(head[0], bytes_of(head[1]), [(bytes_of(name), bytes_of(value)) for name, value in head[2]]),
        _mark(values["base"]),
        _mark(values["broken"]),
        tuple(read_entry(described, file) for described in values["entries"]),
        tuple((bytes_of(own_id), _mark(mark)) for own_id, mark in values["own_ids"]),
        None if last_own_id is None else bytes_of(last_own_id),
        values["is_named"],
        end and RunEnd(_mark(end[0]), CloseReason(end[1]), end[2]),
        values["rested"],
    )


def describe_entry(entry: Entry, age: float) -> list[object]:
    """Return all of an entry but its text, as JSON can hold it."""
    if isinstance(entry, Break):
        return [entry.last, age, entry.first, entry.missing.reason, entry.missing.lost]
    return [entry.last, age, entry.count, len(entry.text), entry.is_named]


def read_entry(described: list[Any], file: BinaryIO) -> tuple[Entry, float]:
    """Return an entry that `describe_entry` has described, with its text from `file`, and its age."""
    last, age = _mark(described[0]), described[1]
    if isinstance(described[2], list):
        return Break(last, _mark(described[2]), Missing(GapReason(described[3]), described[4])), age
    text = file.read(described[3])
    if len(text) != described[3]:
        raise ValueError("A text is cut short.")
    return Block(last, described[2], text, described[4]), age


def _mark(value: list[int]) -> Mark:
    major, minor = value
    return major, minor
