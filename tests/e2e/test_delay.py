"""What happens between SIGTERM and the drain of a real process? (`server.drain.delay`, docs/operations.md)"""

import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, connection_to, fetch
from tests.support.hand_upstream import HandUpstream
from tests.support.processes import wait_until
from tests.support.sseproxy_process import SseproxyProcess

LONG = "10m"  # it does not pass during a test
SHORT = 1.0
COMES_BACK = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


@contextlib.contextmanager
def serving(upstream: HandUpstream, folder: Path, *, delay: str, workers: int) -> Iterator[SseproxyProcess]:
    """On a port, a unix socket, and an admin port."""
    server = {
        "listen": ["127.0.0.1:0", f"unix:{folder}/s"],
        "workers": workers,
        "drain": {"delay": delay, "timeout": "20s", "spread": 0},
    }
    config = folder / "sseproxy.yaml"
    routes = [{"upstream": upstream.url}]
    config.write_text(json.dumps({"server": server, "admin": {"listen": "127.0.0.1:0"}, "routes": routes}))
    with SseproxyProcess("-c", str(config)) as proxy:
        yield proxy


def is_leaving(workers: int) -> Callable[[list[str]], bool]:
    return lambda lines: sum("stopping: connections are accepted" in line for line in lines) == workers


def accepts(url: str) -> bool:
    """True if something accepts connections there."""
    connection = connection_to(url)
    try:
        connection.connect()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    finally:
        connection.close()
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_during_the_delay_requests_are_served_and_balancers_learn_of_it(workers: int, tmp_path: Path) -> None:
    with HandUpstream() as upstream, serving(upstream, tmp_path, delay=LONG, workers=workers) as proxy:
        *public, admin = proxy.urls
        assert fetch(admin, "/readyz").status == 200
        proxy.send_signal(signal.SIGTERM)
        proxy.stderr.wait_for(is_leaving(workers))
        for _ in range(4):  # the kernel deals them out to the workers
            ready = fetch(admin, "/readyz")
            assert (ready.status, json.loads(ready.body)["status"]) == (503, "draining")
            assert fetch(admin, "/healthz").status == 200
            for url in public:
                with Request(url, "/", method="POST", body=b"x") as request, upstream.accept() as call:
                    call.answer(b"served")
                    assert request.read() == b"served"
                    assert request.field("Connection") == "close"
                with Request(url, "/", headers=COMES_BACK) as request, upstream.accept() as call:
                    call.begin()
                    call.send(b"data: 1\n\n")
                    request.wait_for(b"data: 1\n\n")
                    assert request.field("Connection") is None
                    call.finish()
                    assert request.read() == b"data: 1\n\n"
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert [accepts(url) for url in public] == [False, False]
        assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_after_the_delay_the_drain_begins(workers: int, tmp_path: Path) -> None:
    with HandUpstream() as upstream, serving(upstream, tmp_path, delay=f"{SHORT}s", workers=workers) as proxy:
        *public, admin = proxy.urls
        with contextlib.ExitStack() as stack:
            answer = stack.enter_context(Request(proxy.url, "/", method="POST", body=b"{}"))
            answering = stack.enter_context(upstream.accept())
            answering.begin()
            answering.send(b"data: 1\n\n")
            answer.wait_for(b"data: 1\n\n")
            feed = stack.enter_context(Request(public[1], "/", headers=COMES_BACK))
            feeding = stack.enter_context(upstream.accept())
            feeding.begin()
            feeding.send(b"data: 1\n\n")
            feed.wait_for(b"data: 1\n\n")
            idle = stack.enter_context(contextlib.closing(connection_to(proxy.url)))
            idle.connect()
            began = time.monotonic()
            proxy.send_signal(signal.SIGTERM)
            assert feed.read().startswith(b"data: 1\n\nretry: ")
            assert time.monotonic() - began >= SHORT
            wait_until(lambda: not any(accepts(url) for url in public))
            assert has_ended(idle)
            wait_until(lambda: is_unready(admin))
            answering.send(b"data: 2\n\n")
            answering.finish()
            assert answer.read() == b"data: 1\n\ndata: 2\n\n"
        assert proxy.wait() == 0
        assert not (tmp_path / "s").exists()


def is_unready(admin: str) -> bool:
    """Whether ``/readyz`` says so; a worker that has ended meanwhile resets what it was asked last."""
    with contextlib.suppress(ConnectionError):
        return fetch(admin, "/readyz").status == 503
    return False


def has_ended(connection: http.client.HTTPConnection) -> bool:
    sock: socket.socket = connection.sock
    return sock.recv(1) == b""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_in_the_delay_ends_the_process_at_once(workers: int, tmp_path: Path) -> None:
    with (
        HandUpstream() as upstream,
        serving(upstream, tmp_path, delay=LONG, workers=workers) as proxy,
        Request(proxy.url, "/", method="POST", body=b"{}") as answer,
        upstream.accept() as call,
    ):
        call.begin()
        call.send(b"data: 1\n\n")
        answer.wait_for(b"data: 1\n\n")
        proxy.send_signal(signal.SIGTERM)
        proxy.stderr.wait_for(is_leaving(workers))
        proxy.send_signal(signal.SIGINT)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        assert proxy.wait() == 0


def test_the_deadline_of_workers_begins_behind_the_delay(tmp_path: Path) -> None:
    """The parent ends workers that take too long: the delay is no part of their time to drain."""
    with HandUpstream() as upstream:
        server = {"listen": "127.0.0.1:0", "workers": 2, "drain": {"delay": "2s", "timeout": "1s"}}
        config = tmp_path / "sseproxy.yaml"
        config.write_text(json.dumps({"server": server, "routes": [{"upstream": upstream.url}]}))
        with (
            SseproxyProcess("-c", str(config)) as proxy,
            Request(proxy.url, "/", method="POST", body=b"{}") as answer,
            upstream.accept() as call,
        ):
            call.begin()
            call.send(b"data: 1\n\n")
            answer.wait_for(b"data: 1\n\n")
            began = time.monotonic()
            proxy.send_signal(signal.SIGTERM)
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
            assert time.monotonic() - began >= 3.0
            assert b'"type": "drain"' in answer.body
            assert proxy.wait() == 0
