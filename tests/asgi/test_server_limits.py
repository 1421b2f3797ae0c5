"""What do some servers and frameworks make impossible, whatever a middleware does? Documented here, and tested as such.

The table is the documentation; a row that is no longer true fails.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.asgi.apps.raw import PIECES
from tests.asgi.apps.source import RECORD
from tests.support.asgi_servers import SERVERS, AsgiServer
from tests.support.blocking_peer import ClientPeer
from tests.support.http2_peer import Http2Peer
from tests.support.processes import wait_until
from tests.support.server_process import ServerProcess


@dataclass(frozen=True, slots=True)
class Limits:
    """holds_back: the app waits for a client that does not read. breaks_off: an app that raises ends the connection."""

    holds_back: bool = True
    breaks_off: bool = True
    reason: str = ""


LIMITS = {
    "uvicorn-h11": Limits(),
    "uvicorn-httptools": Limits(),
    "hypercorn": Limits(),
    "granian": Limits(),
    "daphne": Limits(
        holds_back=False,
        breaks_off=False,
        reason="its send returns at once and Twisted keeps what the client does not take, so memory is not bounded and "
        "write_timeout never comes into play; for an app that raises in its response it tries to send an error page, "
        "fails over it, and leaves the connection open and silent until the client leaves: use max_duration, whose end "
        "is a clean one",
    ),
}

#: Frameworks whose own limit no heartbeat can change, by the path of their app that shows it.
TOTAL_LIMITS = {
    "quart_app": ("/limited", "RESPONSE_TIMEOUT is a total of 60 seconds for a response: set response.timeout = None"),
}


def start(server: str, app: str, folder: Path) -> AsgiServer:
    started = AsgiServer(server, f"tests.asgi.apps.{app}", folder / "record")
    started.wait_until_ready()
    return started


def test_no_server_is_left_out() -> None:
    assert LIMITS.keys() == SERVERS.keys()
    assert all(limits.reason or limits == Limits() for limits in LIMITS.values())


@pytest.mark.parametrize("name", SERVERS)
def test_a_client_that_does_not_read_and_an_app_that_is_too_silent(name: str, tmp_path: Path) -> None:
    server, limits = start(name, "raw:impatient", tmp_path), LIMITS[name]
    try:
        _check_what_holds_back(server, limits)
        _check_what_breaks_off(server, limits)
    finally:
        server.stop()


def _check_what_holds_back(server: AsgiServer, limits: Limits) -> None:
    with ClientPeer(server.url, receive_buffer=4096) as client:
        client.ask("/flood")
        client.read_head()
        if limits.holds_back:
            wait_until(lambda: "stopped" in server.recorded())
            assert "sent all" not in server.recorded()
            assert len(server.recorded()) < PIECES
        else:
            wait_until(lambda: "sent all" in server.recorded())
    wait_until(lambda: "stopped" in server.recorded())


def _check_what_breaks_off(server: AsgiServer, limits: Limits) -> None:
    with ClientPeer(server.url) as client:
        client.ask("/silence")
        client.read_head()
        said = client.read_until(b'"code": 504}}\n\n')
        assert b": heartbeat\n" in said
        client.read_until(b"\r\n")
        wait_until(lambda: server.recorded().count("stopped") == 2)
        if limits.breaks_off:
            body = client.read_body()
            assert not body.is_whole
            assert b"0\r\n\r\n" not in said + body.data + body.rest
        else:
            client.expect_silence(0.4)
            assert client.is_open()


#: Servers that wait for their connections when they are asked to end, each with its own limit of a second for it.
BACKSTOPS = {
    "uvicorn": ["uvicorn", "--port", "0", "--timeout-graceful-shutdown", "1"],
    "hypercorn": ["hypercorn", "--workers", "0", "--bind", "127.0.0.1:0", "--graceful-timeout", "1"],
    "granian": ["granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "0", "--workers-kill-timeout", "1"],
}

#: From 3.12.1 on `asyncio.Server.wait_closed` waits for all connections, and hypercorn asks for that first.
ENDLESS = {"hypercorn"} if sys.version_info >= (3, 12, 1) else set()


@pytest.mark.parametrize("name", BACKSTOPS)
def test_a_client_that_takes_nothing_stays_connected_until_the_servers_own_limit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASGI has no word for breaking off a connection that has something to send: the app is stopped, no more."""
    record = tmp_path / "record"
    monkeypatch.setenv(RECORD, str(record))
    with (
        ServerProcess(*BACKSTOPS[name], "tests.asgi.apps.raw:impatient") as server,
        ClientPeer(server.url, receive_buffer=4096) as client,
    ):
        client.ask("/flood")
        client.read_head()
        wait_until(lambda: record.exists() and "stopped" in record.read_text())
        assert client.is_open()
        server.ask_to_end()
        if name in ENDLESS:
            with pytest.raises(AssertionError, match="it did not end within"):
                server.wait(limit=3)
            client.close()
        server.wait()


#: Servers that speak HTTP/2, and how a stream of it ends there whose app raises: hypercorn has nothing to say of it.
HTTP_2: Mapping[str, tuple[list[str], str | None]] = {
    "hypercorn": (["hypercorn", "--workers", "0", "--bind", "127.0.0.1:0"], None),
    "granian": (["granian", "--interface", "asgi", "--http", "2", "--host", "127.0.0.1", "--port", "0"], "reset"),
}


@pytest.mark.parametrize("name", HTTP_2)
def test_a_stream_that_is_broken_off_over_http_2(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, end = HTTP_2[name]
    record = tmp_path / "record"
    monkeypatch.setenv(RECORD, str(record))
    with (
        ServerProcess(*command, "tests.asgi.apps.raw:impatient") as server,
        Http2Peer(server.url) as client,
    ):
        silent = client.ask("/silence")
        wait_until(lambda: record.exists() and "stopped" in record.read_text())
        server.output.wait_for(lambda lines: any("StreamAborted" in line for line in lines))
        other = client.ask("/events")
        assert b"one" in client.read_to_end_of(other)
        assert client.bodies[silent].endswith(b'"type": "idle_timeout", "code": 504}}\n\n')
        assert client.ends == {other: "ended"} | ({} if end is None else {silent: end})


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("framework", TOTAL_LIMITS)
def test_a_total_limit_of_the_framework_ends_a_stream_in_spite_of_heartbeats(
    framework: str, name: str, tmp_path: Path
) -> None:
    path, _ = TOTAL_LIMITS[framework]
    server = start(name, f"{framework}:application", tmp_path)
    try:
        with ClientPeer(server.url) as client:
            client.ask(path)
            client.read_head()
            assert b": heartbeat\n" in client.read_until(b": heartbeat\n")
            wait_until(lambda: "stopped" in server.recorded())
    finally:
        server.stop()
