"""What does a client get when sseproxy itself fails in the middle of a stream? (docs/ends.md, ``internal_error``)"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from tests.support.aiohttp_app import AiohttpApp, Handler, broken_body, open_stream
from tests.support.defective_streams import IN_THE_STREAM, LATE, WORDS, DefectiveStreams
from tests.support.whatwg import parse

EVENT = b"data: 1\n\n"


async def error_type(handler: Handler, fails_in: str) -> tuple[str, list[str]]:
    """The type of the one error event, in front of a broken end, and the defects that the event loop was told of."""
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: reported.append(str(said["exception"])))
    options: dict[str, Any] = {"heartbeat": "20ms", "before_response": "20ms", "streams": DefectiveStreams(fails_in)}
    async with AiohttpApp.serve(handler, **options) as app, app.ask("Accept: text/event-stream") as client:
        assert (await client.head()).status == 200
        body = await broken_body(client)
    assert WORDS.encode() not in body
    [error] = [event for event in parse(body).events if event.type == "error"]
    return json.loads(error.data)["type"], reported


@pytest.mark.parametrize("fails_in", IN_THE_STREAM)
async def test_a_defect_in_the_stream_is_an_error_event_and_a_broken_end(fails_in: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        await response.write(EVENT)
        if fails_in != "receive_eof":
            await asyncio.Event().wait()
        return response

    assert await error_type(handler, fails_in) == ("internal_error", [WORDS])


ANSWERS: dict[str, Callable[[], web.Response]] = {
    "receive_response": lambda: web.Response(body=EVENT, content_type="text/event-stream"),
    "receive_json": lambda: web.json_response({}),
    "receive_refusal": lambda: web.Response(status=500),
}


@pytest.mark.parametrize("fails_in", LATE)
async def test_so_is_a_defect_when_the_handler_answers_at_last(fails_in: str) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return ANSWERS[fails_in]()

    assert await error_type(handler, fails_in) == ("internal_error", [WORDS])
