"""When is it known whether a body asks for a stream, and what is kept until then?"""

import json

import pytest

from sseproxy.core.limits import BODY_PEEK
from sseproxy.core.peek import BodyPeek


class Watched:
    """A peek, and how often it has said that it knows."""

    def __init__(self) -> None:
        self.calls = 0
        self.peek = BodyPeek(self._known)

    def _known(self) -> None:
        self.calls += 1


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.parametrize("white", [b"", b" \r\n\t", b"\n" * 100])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_object_is_known_at_its_end(watched: Watched, white: bytes, size: int) -> None:
    body = white + b'{"model": "m", "stream": true}'
    for index in range(0, len(body), size):
        watched.peek.feed(body[index : index + size])
        assert (watched.peek.declares_stream, watched.calls) == (None, 0)
    watched.peek.end()
    assert (watched.peek.declares_stream, watched.calls) == (True, 1)
    watched.peek.end()
    assert watched.calls == 1


@pytest.mark.parametrize("white", [b"", b" \r\n\t", b"\n" * 100])
@pytest.mark.parametrize("first", [b"[", b"a=1", b'"', b"--boundary", b"\x89PNG", b"\x00", b"\xef\xbb\xbf{"])
def test_what_does_not_begin_like_an_object_is_known_at_once(watched: Watched, white: bytes, first: bytes) -> None:
    for byte in white:
        watched.peek.feed(bytes([byte]))
    assert not watched.peek.is_known
    watched.peek.feed(first)
    assert (watched.peek.declares_stream, watched.calls) == (False, 1)
    watched.peek.feed(b'{"stream": true}')
    watched.peek.end()
    assert (watched.peek.declares_stream, watched.calls) == (False, 1)


def test_more_than_the_limit_is_known_at_once(watched: Watched) -> None:
    start = b'{"stream": true, "padding": "'
    watched.peek.feed(start + b"x" * (BODY_PEEK - len(start)))
    assert not watched.peek.is_known
    watched.peek.feed(b"x")
    assert (watched.peek.declares_stream, watched.calls) == (False, 1)
    assert not watched.peek._seen


def test_a_body_at_the_limit_is_looked_at(watched: Watched) -> None:
    start, end = b'{"padding": "', b'", "stream": true}'
    watched.peek.feed(start + b"x" * (BODY_PEEK - len(start) - len(end)) + end)
    watched.peek.end()
    assert watched.peek.declares_stream is True


def test_a_body_that_is_nested_too_deeply_asks_for_nothing(watched: Watched) -> None:
    """Python's own parser gives up on it, and not with a `ValueError`."""
    watched.peek.feed(b'{"stream": true, "deep": ' + b"[" * 200_000)
    watched.peek.end()
    assert watched.peek.declares_stream is False


def test_who_has_forgotten_keeps_nothing_and_calls_nobody(watched: Watched) -> None:
    watched.peek.feed(b'{"stream"')
    watched.peek.forget()
    assert not watched.peek._seen
    watched.peek.feed(b": true}")
    watched.peek.end()
    assert not watched.peek._seen
    assert (watched.peek.declares_stream, watched.calls) == (False, 0)


def test_it_is_parsed_only_when_somebody_asks_and_then_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, loads = [], json.loads

    def counting(body: bytes) -> object:
        parsed.append(body)
        return loads(body)

    monkeypatch.setattr(json, "loads", counting)
    watched.peek.feed(b'{"stream": true}')
    watched.peek.end()
    assert (watched.calls, parsed) == (1, [])
    assert [watched.peek.declares_stream for _ in range(3)] == [True] * 3
    assert parsed == [b'{"stream": true}']
    assert not watched.peek._seen


def test_an_empty_body_declares_nothing(watched: Watched) -> None:
    watched.peek.end()
    assert (watched.peek.declares_stream, watched.calls) == (False, 1)
