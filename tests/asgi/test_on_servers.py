"""What do real servers and frameworks make of a stream where the matrix does not look?"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asgi.apps.source import EVENTS
from tests.support.asgi_servers import SERVERS, AsgiServer
from tests.support.blocking_peer import ClientPeer
from tests.support.curl import Curl
from tests.support.processes import wait_until
from tests.support.whatwg import Event, parse

#: More of a request body than is kept for an app that does not read it.
LARGE = bytes(3_000_000)


def started(server: str, app: str, folder: Path) -> AsgiServer:
    server_process = AsgiServer(server, f"tests.asgi.apps.{app}", folder / "record")
    server_process.wait_until_ready()
    return server_process


@pytest.mark.parametrize("name", SERVERS)
def test_a_client_that_leaves_is_noticed_behind_a_large_body_that_the_app_does_not_read(
    name: str, tmp_path: Path
) -> None:
    server = started(name, "raw:application", tmp_path)
    try:
        with ClientPeer(server.url) as client:
            client.ask("/silence", method="POST", body=LARGE)
            client.read_head()
            client.read_until(b": heartbeat\n")
        wait_until(lambda: "stopped" in server.recorded())
        assert server.wrongs() == []
    finally:
        server.stop()


def test_a_django_that_compresses_sends_its_events_as_they_are(tmp_path: Path) -> None:
    server = started("uvicorn-httptools", "django_app:application", tmp_path)
    try:
        with ClientPeer(server.url) as client:
            client.ask("/events", headers=["Accept: text/event-stream", "Accept-Encoding: gzip"])
            assert "content-encoding" not in client.read_head().headers
            body = client.read_body()
            assert body.is_whole
            assert b": heartbeat\n" in body.data
            assert parse(body.data).events == [Event(event.type, event.data, event.id) for event in EVENTS]
    finally:
        server.stop()


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "daphne"])
def test_a_django_view_ends_with_its_stream(name: str, tmp_path: Path) -> None:
    """Django does its work in a task of its own, which goes on when Django is cancelled."""
    server = started(name, "django_app:impatient", tmp_path)
    try:
        with ClientPeer(server.url) as client:
            client.ask("/silence")
            client.read_head()
            assert not client.read_body().is_whole
        wait_until(lambda: "stopped" in server.recorded())
        assert "never retrieved" not in server.output.text
    finally:
        server.stop()


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "daphne"])
def test_a_broken_end_is_one_behind_a_middleware_that_completes_responses(name: str, tmp_path: Path) -> None:
    server = started(name, "behind_app:application", tmp_path)
    try:
        for path in ("/events", "/impatient/silence", "/failing", "/unfinished"):
            with ClientPeer(server.url) as client:
                client.ask(path)
                client.read_head()
                assert client.read_body().is_whole == (path == "/events"), path
        assert "never retrieved" not in server.output.text
    finally:
        server.stop()


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "daphne"])
def test_so_is_that_of_a_client_that_was_given_up_and_reads_on(name: str, tmp_path: Path) -> None:
    server = started(name, "behind_app:application", tmp_path)
    try:
        with ClientPeer(server.url, receive_buffer=4096) as client:
            client.ask("/flood")
            client.read_head()
            wait_until(lambda: "stopped" in server.recorded())
            assert not client.read_body().is_whole
    finally:
        server.stop()


class TestHTTP2:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[AsgiServer]:
        server = started("hypercorn", "raw:application", tmp_path)
        yield server
        server.stop()

    def ask(self, server: AsgiServer, path: str) -> Curl:
        return Curl("--http2-prior-knowledge", "-H", "TE: trailers", server.url + path)

    def test_a_stream_is_kept_alive_and_comes_to_its_end(self, server: AsgiServer) -> None:
        with self.ask(server, "/events") as curl:
            assert curl.wait() == 0
            assert curl.status == 200
            assert b": heartbeat\n" in curl.body
            assert parse(curl.body).events == [Event(event.type, event.data, event.id) for event in EVENTS]

    def test_a_client_that_leaves_is_noticed(self, server: AsgiServer) -> None:
        with self.ask(server, "/silence") as curl:
            curl.wait_for_body(lambda body: b": heartbeat\n" in body)
        wait_until(lambda: "stopped" in server.recorded())

    def test_a_stream_that_promises_trailers_comes_to_its_end(self, server: AsgiServer) -> None:
        with self.ask(server, "/trailers") as curl:
            assert curl.wait() == 0
            assert curl.body == b"data: 1\n\n"
        assert server.wrongs() == []
