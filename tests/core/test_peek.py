"""When is it known what a body says, and what is kept until then?"""

from typing import cast

import pytest

from sseproxy.core.http.json_members import NoValue
from sseproxy.core.http.peek import BodyPeek, may_be_json

LONG = b'{"padding": "' + b"x" * 10_000 + b'", '


@pytest.fixture
def peek() -> BodyPeek:
    return BodyPeek(("stream",))


@pytest.mark.parametrize("white", [b"", b" \r\n\t", b"\n" * 10_000])
@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_a_short_object_is_known_at_the_end_of_the_body(peek: BodyPeek, white: bytes, size: int) -> None:
    body = white + b'{"model": "m", "stream": true}'
    for index in range(0, len(body), size):
        peek.feed(body[index : index + size])
    peek.end()
    assert peek.value("stream") is True


def test_until_it_is_known_there_is_no_value(peek: BodyPeek) -> None:
    peek.feed(b'{"stream": true')
    assert peek.value("stream") is NoValue.ABSENT
    peek.feed(b"}")
    assert peek.value("stream") is True


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_a_long_object_is_known_at_its_own_end(peek: BodyPeek, size: int) -> None:
    body = LONG + b'"stream": true}'
    for index in range(0, len(body), size):
        assert not peek.is_known
        peek.feed(body[index : index + size])
    assert (peek.is_known, peek.value("stream")) == (True, True)
    peek.feed(b"more")
    peek.end()
    assert peek.value("stream") is True


@pytest.mark.parametrize("first", [b"[", b"a=1", b'"', b"--boundary", b"\x89PNG", b"\x00"])
def test_what_is_no_object_says_nothing(peek: BodyPeek, first: bytes) -> None:
    peek.feed(first + LONG)
    assert peek.is_known
    peek.feed(b'{"stream": true}')
    peek.end()
    assert peek.value("stream") is NoValue.ABSENT


def test_a_buffer_that_is_used_again_does_no_harm(peek: BodyPeek) -> None:
    buffer = bytearray(b'{"stream": true}')
    peek.feed(cast(bytes, buffer))  # servers hand in what they like
    buffer[:] = bytes(len(buffer))
    peek.end()
    assert peek.value("stream") is True


def test_an_empty_body_says_nothing(peek: BodyPeek) -> None:
    peek.end()
    assert peek.value("stream") is NoValue.ABSENT


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
