"""What do client and app get when sseproxy itself fails within a stream? (docs/ends.md, ``internal_error``)"""

import asyncio
import json

import pytest

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import ASGIApp
from sseproxy.core.stream.transfer import CloseReason
from tests.support.asgi_exchange import Exchange, Noted, head, script
from tests.support.defective_streams import IN_THE_STREAM, LATE, WORDS, DefectiveStreams
from tests.support.virtual_clock import passing
from tests.support.whatwg import parse

EVENT = b"data: 1\n\n"
ACCEPT = (b"accept", b"text/event-stream")
JSON = head(200, (b"content-type", b"application/json"))
NEVER = 1e9


async def told(app: ASGIApp, fails_in: str) -> list[str]:
    """The texts of all defects that the event loop was told of; the one error event and the broken end are asserted."""
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: reported.append(str(said["exception"])))
    wrapped = SSEKeepaliveMiddleware(app, before_response="10s", idle_timeout="off", streams=DefectiveStreams(fails_in))
    seen = Exchange(wrapped, headers=[ACCEPT]).start()
    with pytest.raises(StreamAborted) as raised:
        await seen.finish()
    assert raised.value.reason is CloseReason.INTERNAL_ERROR
    *_, error = parse(seen.body).events
    assert (error.type, json.loads(error.data)["type"]) == ("error", "internal_error")
    assert seen.body.count(b"event: error\n") == 1
    assert not seen.is_whole
    assert WORDS.encode() not in seen.body
    assert wrapped.open_streams == 0
    return reported


@pytest.mark.parametrize("fails_in", IN_THE_STREAM)
async def test_a_defect_in_the_stream_is_an_error_event_and_a_broken_end(fails_in: str) -> None:
    app = Noted(script(EVENT) if fails_in == "receive_eof" else script(EVENT, NEVER))
    assert await told(app, fails_in) == [WORDS]
    assert app.end == ("returned" if fails_in == "receive_eof" else asyncio.CancelledError)


@pytest.mark.parametrize("fails_in", LATE)
async def test_so_is_a_defect_when_the_app_answers_at_last(fails_in: str) -> None:
    start = {"receive_response": head(), "receive_json": JSON, "receive_refusal": head(500, (b"x", b"y"))}[fails_in]
    app = Noted(script(b"{}", before=12.0, start=start))
    assert await told(app, fails_in) == [WORDS]


async def test_an_app_that_gives_no_answer_does_not_get_the_blame() -> None:
    async def nothing(*_: object) -> None:
        await passing(12)

    assert await told(nothing, "receive_refusal") == [WORDS]


async def test_a_refusal_that_never_ends_does_not_keep_the_stream_open() -> None:
    app = Noted(script(b"half", NEVER, before=12.0, start=head(500, (b"x", b"y"))))
    assert await told(app, "receive_refusal") == [WORDS]
    assert app.end is asyncio.CancelledError
