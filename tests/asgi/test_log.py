"""Can an app have a line in its log for each of its streams, and what does it say?"""

import contextlib
import logging

import pytest
from aiohttp import web

from sseproxy.asgi import SSEKeepaliveMiddleware, StreamAborted
from sseproxy.asgi.types import Message, Receive, Scope, Send
from sseproxy.engine.access import AccessLog
from sseproxy.engine.live import LiveStreams
from sseproxy.engine.observer import Observers
from tests.support.aiohttp_app import AiohttpApp, open_stream, until
from tests.support.asgi_exchange import Exchange, Step, body, head, script
from tests.support.virtual_clock import passing

FIELDS = (
    (b"host", b"app.test:80"),
    (b"x-request-id", b"r-1"),
    (b"accept", b"text/event-stream"),
    (b"cookie", b"secret"),
)


def logged() -> LiveStreams:
    return LiveStreams(chance=lambda: 0.0, linger=0.0, observers=Observers([AccessLog()]))


async def lines_of(
    caplog: pytest.LogCaptureFixture, *steps: Step, fields: tuple[tuple[bytes, bytes], ...]
) -> list[str]:
    caplog.set_level(logging.DEBUG, "sseproxy.access")
    app = SSEKeepaliveMiddleware(script(*steps), streams=logged())
    await Exchange(app, path="/a b?c", headers=fields).run()
    return caplog.messages


async def test_a_stream_is_logged_from_its_begin_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    begun, ended = await lines_of(caplog, b"data: 1\n\n", 20.0, b"data: 2\n\n", fields=FIELDS)
    assert begun == (
        'start peer=192.0.2.7 method=GET host=app.test:80 path="/a b" status=200 route=app request_id=r-1 declared=yes'
    )
    assert "route=app reason=upstream_end request_id=r-1 declared=yes seconds=20.0" in ended
    assert ended.endswith("longest_silence=20.0 events=2 bytes=31 heartbeats=1")


async def test_what_is_no_host_and_no_id_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    fields = ((b"host", b"user:password@app.test"), (b"x-request-id", b"a\nforged"))
    begun, ended = await lines_of(caplog, b"data: 1\n\n", fields=fields)
    assert begun.startswith('start peer=192.0.2.7 method=GET path="/a b" status=200 route=app declared=no')
    assert "host=" not in ended
    assert "request_id=" not in ended


async def test_an_app_that_breaks_off(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="broken"):
        await lines_of(caplog, b"data: 1\n\n", ValueError("broken"), fields=FIELDS)
    assert " reason=upstream_error " in caplog.messages[-1]


async def test_other_responses_are_the_servers_to_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sseproxy.access")
    plain = script(b"x", start={"type": "http.response.start", "status": 200})
    await Exchange(SSEKeepaliveMiddleware(plain, streams=logged())).run()
    assert caplog.messages == []


async def test_the_streams_of_an_aiohttp_app(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sseproxy.access")

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        await response.write(b"data: 1\n\n")
        return response

    async with AiohttpApp.serve(handler, streams=logged()) as app, app.ask() as client:
        await client.response()
        await until(lambda: bool(caplog.messages))
    [line] = caplog.messages
    assert line.startswith("peer=127.0.0.1 method=GET host=")
    assert " status=200 route=app reason=upstream_end " in line


@pytest.mark.parametrize(
    ("said", "before", "ends"),
    [
        (head(429, (b"content-type", b"text/plain")), 5.0, "intended=429 route=app reason=upstream_end"),
        (head(404, (b"content-type", b"application/json")), 5.0, "intended=404 route=app reason=upstream_end"),
        (ValueError("broken"), 5.0, "intended=500 route=app reason=upstream_end"),
        (head(), 50.0, "intended=504 route=app reason=response_timeout"),
    ],
)
@pytest.mark.parametrize("accept", [b"application/json", b"text/event-stream"])
async def test_the_status_of_an_app_that_answers_late(
    accept: bytes, said: Message | ValueError, before: float, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sseproxy.access")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await passing(before)
        if isinstance(said, ValueError):
            raise said
        await send(said)
        await send(body(b"{}", more=False))

    kept = SSEKeepaliveMiddleware(app, json=2.0, before_response=2.0, response_timeout=20.0, streams=logged())
    with contextlib.suppress(ValueError, StreamAborted):
        headers = [(b"content-type", b"text/plain"), (b"accept", accept)]
        await Exchange(kept, method="POST", path="/a", headers=headers).run()
    assert f" status=200 {ends} " in caplog.messages[-1]
