"""Does a proxy in a real server end with it, and let its streams end well, also where no lifespan comes to it?"""

import contextlib
import http.client
import re
from collections.abc import Iterator

import pytest

from tests.proxy.library_apps import SERVICE
from tests.support.blocking_client import Request
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.server_process import ServerProcess

#: hypercorn's workers get no signal: `--workers 0` runs the app in the process that does (docs/middleware.md).
SERVERS = {
    "uvicorn": ("uvicorn", "--port", "0"),
    "hypercorn": ("hypercorn", "--workers", "0", "--graceful-timeout", "30", "--bind", "127.0.0.1:0"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "0"),
}
APPS = ("alone", "mounted")
EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


@pytest.fixture
def service() -> Iterator[HandUpstream]:
    with HandUpstream() as service:
        yield service


@contextlib.contextmanager
def running(server: str, app: str, service: HandUpstream) -> Iterator[ServerProcess]:
    module = f"tests.proxy.library_apps:{app}"
    with ServerProcess(*SERVERS[server], module, environment={SERVICE: service.url}) as process:
        yield process


@contextlib.contextmanager
def streaming(process: ServerProcess, service: HandUpstream, method: str) -> Iterator[tuple[Request, Call]]:
    """One stream that has begun, and says nothing more."""
    body = b'{"stream": true}' if method == "POST" else None
    client = Request(process.url, "/v1/chat", method=method, headers=EVENT_SOURCE, body=body)
    with client, service.accept() as call:
        call.begin()
        call.send(b"data: 1\n\n")
        client.wait_for(b"data: 1\n\n")
        yield client, call


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("server", SERVERS)
def test_streams_end_well_when_the_server_is_asked_to_end(server: str, app: str, service: HandUpstream) -> None:
    with (
        running(server, app, service) as process,
        streaming(process, service, "GET") as (feed, of_feed),
        streaming(process, service, "POST") as (answer, of_answer),
    ):
        process.ask_to_end()
        feed.read()
        assert re.search(rb"^retry: \d+", feed.body, re.MULTILINE), feed.body
        of_feed.wait_until_left()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        assert b'"type": "drain"' in answer.body
        of_answer.wait_until_left()
        process.wait()


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("server", SERVERS)
def test_an_answer_may_finish(server: str, app: str, service: HandUpstream) -> None:
    with running(server, app, service) as process:
        with streaming(process, service, "POST") as (answer, call):
            process.ask_to_end()
            call.send(b"data: [DONE]\n\n")
            call.finish()
            answer.read()
            assert answer.body.endswith(b"data: [DONE]\n\n")
        process.wait()
        assert "Traceback" not in process.output.text
