"""When an ASGI server is asked to end while a stream is open: does the stream end well, and then the server?

The commands are those of `docs/middleware.md`.
"""

import http.client
import json
import re
import sys
from pathlib import Path

import pytest

from tests.e2e.drains.draining_app import tokens
from tests.support.blocking_client import Request
from tests.support.server_process import ServerProcess
from tests.support.whatwg import parse

APPS = Path(__file__).parent / "drains"
MANUAL = Path(__file__).parents[2] / "docs" / "middleware.md"
EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}

SERVERS = {
    "uvicorn": "uvicorn APP --port 0",
    "uvicorn with h11 on asyncio": "uvicorn APP --port 0 --loop asyncio --http h11",
    "uvicorn with workers": "uvicorn APP --port 0 --workers 2",
    "gunicorn": "gunicorn -k uvicorn_worker.UvicornWorker --workers 2 --bind 127.0.0.1:0 APP",
    "granian": "granian --interface asgi APP --port 0",
    "granian on asyncio": "granian --interface asgi APP --port 0 --loop asyncio",
    "hypercorn": "hypercorn --workers 0 --graceful-timeout 30 APP --bind 127.0.0.1:0",
    "hypercorn on uvloop": "hypercorn --workers 0 --graceful-timeout 30 APP --bind 127.0.0.1:0 --worker-class uvloop",
}


def served(command: str, app: str) -> ServerProcess:
    return ServerProcess(*command.replace("APP", f"draining_app:{app}").split(), path=[APPS])


@pytest.mark.parametrize("server", SERVERS)
def test_a_stream_ends_at_a_boundary_and_the_server_by_itself(server: str) -> None:
    with served(SERVERS[server], "app") as process:
        with Request(process.url, "/", headers=EVENT_SOURCE) as request:
            request.read_until(lambda body: body.count(b"\n\n") >= 2)
            process.ask_to_end()
            body = request.read()
        assert re.fullmatch(rb"(data: tick\n\n)+retry: \d+\n\n", body)
        process.wait()
    assert "Traceback" not in process.output.text


@pytest.mark.parametrize("server", ["uvicorn", "granian", "hypercorn"])
def test_a_stream_without_a_boundary_is_broken_off_in_time_and_the_server_ends(server: str) -> None:
    with served(SERVERS[server], "never") as process:
        with Request(process.url, "/") as request:
            request.read_until(lambda body: b"half" in body)
            process.ask_to_end()
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                request.read()
        process.wait()


#: What aiohttp starts so calls `run_app`, as programs do.
ANSWERING = {**SERVERS, "aiohttp": "python -m aiohttp.web -H 127.0.0.1 -P 0 draining_aiohttp:APP"}


def answering(server: str, app: str) -> ServerProcess:
    command = ANSWERING[server].replace("draining_aiohttp:APP", f"draining_aiohttp:{app}")
    return served(command, app)


@pytest.mark.parametrize("server", ANSWERING)
def test_an_answer_may_finish(server: str) -> None:
    with answering(server, "answer") as process:
        with Request(process.url, "/short", method="POST", body=b"{}", headers=EVENT_SOURCE) as request:
            request.read_until(lambda body: body.count(b"\n\n") >= 2)
            process.ask_to_end()
            body = request.read()
        assert body == b"".join(tokens("/short")) + b"data: [DONE]\n\n"
        process.wait()
    assert "Traceback" not in process.output.text


@pytest.mark.parametrize("server", ["uvicorn", "uvicorn with h11 on asyncio", "granian", "hypercorn", "aiohttp"])
def test_an_answer_that_takes_too_long_gets_an_error_event_and_a_broken_end(server: str) -> None:
    with answering(server, "hurried_answer") as process:
        with Request(process.url, "/", method="POST", body=b"{}") as request:
            request.read_until(lambda body: body.count(b"\n\n") >= 2)
            process.ask_to_end()
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                request.read()
        *whole, last = parse(request.body).events
        assert [event.data for event in whole] == [str(number) for number in range(len(whole))]
        assert (last.type, json.loads(last.data)["type"], json.loads(last.data)["status"]) == ("error", "drain", 503)
        process.wait()


def test_the_worker_processes_of_hypercorn_are_told_nothing() -> None:
    """What the manual warns of: the stream is cut, or goes on. If this fails, the manual can forget it."""
    command = "hypercorn --workers 1 --graceful-timeout 1 APP --bind 127.0.0.1:0"
    with served(command, "app") as process:
        with Request(process.url, "/") as request:
            request.read_until(lambda body: body.count(b"\n\n") >= 2)
            process.ask_to_end()
            if sys.version_info >= (3, 12, 1):  # where hypercorn waits for its clients
                with pytest.raises(AssertionError, match="it did not end within"):
                    process.wait(limit=3)
                seen = request.body.count(b"\n\n")
                request.read_until(lambda body: body.count(b"\n\n") >= seen + 2)
            else:
                with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                    request.read()
        process.wait()


def test_the_manual_gives_these_commands() -> None:
    manual = MANUAL.read_text()
    assert "hypercorn --workers 0 --graceful-timeout 30 " in manual
    assert "gunicorn -k uvicorn_worker.UvicornWorker " in manual
