"""When is it known what a body says, and what is kept until then?"""

from typing import cast

import pytest

from sseproxy.core.json_members import NoValue
from sseproxy.core.peek import BodyPeek, may_be_json

LONG = b'{"padding": "' + b"x" * 10_000 + b'", '


class Watched:
    """A peek, and how often it has said that it knows."""

    def __init__(self) -> None:
        self.calls = 0
        self.peek = BodyPeek(("stream",), self._known)

    def _known(self) -> None:
        self.calls += 1


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.parametrize("white", [b"", b" \r\n\t", b"\n" * 10_000])
@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_a_short_object_is_known_at_the_end_of_the_body(watched: Watched, white: bytes, size: int) -> None:
    body = white + b'{"model": "m", "stream": true}'
    for index in range(0, len(body), size):
        watched.peek.feed(body[index : index + size])
    watched.peek.end()
    assert (watched.peek.value("stream"), watched.calls) == (True, 1)
    watched.peek.end()
    assert watched.calls == 1


def test_until_it_is_known_there_is_no_value(watched: Watched) -> None:
    watched.peek.feed(b'{"stream": true')
    assert watched.peek.value("stream") is NoValue.ABSENT
    watched.peek.feed(b"}")
    assert watched.peek.value("stream") is True


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_a_long_object_is_known_at_its_own_end(watched: Watched, size: int) -> None:
    body = LONG + b'"stream": true}'
    for index in range(0, len(body), size):
        assert not watched.peek.is_known
        watched.peek.feed(body[index : index + size])
    assert (watched.peek.is_known, watched.peek.value("stream"), watched.calls) == (True, True, 1)
    watched.peek.feed(b"more")
    watched.peek.end()
    assert (watched.peek.value("stream"), watched.calls) == (True, 1)


@pytest.mark.parametrize("first", [b"[", b"a=1", b'"', b"--boundary", b"\x89PNG", b"\x00"])
def test_what_is_no_object_says_nothing(watched: Watched, first: bytes) -> None:
    watched.peek.feed(first + LONG)
    assert (watched.peek.is_known, watched.calls) == (True, 1)
    watched.peek.feed(b'{"stream": true}')
    watched.peek.end()
    assert (watched.peek.value("stream"), watched.calls) == (NoValue.ABSENT, 1)


def test_a_forgotten_peek_calls_nobody(watched: Watched) -> None:
    watched.peek.feed(b'{"stream"')
    watched.peek.forget()
    watched.peek.feed(b": true}")
    watched.peek.end()
    assert (watched.peek.value("stream"), watched.calls) == (NoValue.ABSENT, 0)


def test_a_buffer_that_is_used_again_does_no_harm(watched: Watched) -> None:
    buffer = bytearray(b'{"stream": true}')
    watched.peek.feed(cast(bytes, buffer))  # servers hand in what they like
    buffer[:] = bytes(len(buffer))
    watched.peek.end()
    assert watched.peek.value("stream") is True


def test_an_empty_body_says_nothing(watched: Watched) -> None:
    watched.peek.end()
    assert (watched.peek.value("stream"), watched.calls) == (NoValue.ABSENT, 1)


@pytest.mark.parametrize(
    ("media", "coding", "is_possible"),
    [
        (b"application/json", b"", True),
        (b"application/x-www-form-urlencoded", b"", True),
        (b"", b"identity", True),
        (b"multipart/form-data; boundary=x", b"", False),
        (b"image/png", b"", False),
        (b"application/json", b"gzip", False),
    ],
)
def test_which_bodies_may_be_json(media: bytes, coding: bytes, is_possible: bool) -> None:
    assert may_be_json(media, coding) is is_possible
