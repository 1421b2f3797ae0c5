"""What does the reader of a request body get when the rest of it is thrown away?"""

import asyncio

import pytest

from sseproxy.core.errors import BadRequest
from sseproxy.http1.content import RequestContent


def content(*pieces: bytes) -> RequestContent:
    made = RequestContent(lambda _: None)
    for piece in pieces:
        made.feed(piece)
    return made


async def test_a_reader_does_not_take_it_for_the_end() -> None:
    """Or half a body would look whole to its upstream."""
    body = content(b"ab")
    assert await body.read() == b"ab"
    body.drop()
    body.feed(b"cd")
    body.end()
    assert body.is_complete
    with pytest.raises(BadRequest):
        await body.read()


async def test_a_reader_that_waits_hears_of_it() -> None:
    body = content()
    reading = asyncio.create_task(body.read())
    await asyncio.sleep(0)
    body.drop()
    with pytest.raises(BadRequest):
        await reading


async def test_what_has_come_and_was_not_read_is_lost_as_well() -> None:
    body = content(b"ab")
    body.end()
    body.drop()
    with pytest.raises(BadRequest):
        await body.read()


async def test_whoever_has_read_all_has_the_end() -> None:
    body = content(b"ab")
    body.end()
    assert await body.read() == b"ab"
    body.drop()
    assert await body.read() == b""


async def test_its_end_is_still_noted() -> None:
    body = content(b"ab")
    body.drop()
    assert not body.ended.done()
    body.end()
    assert body.ended.done()
