"""Several worker processes on one port: they share the work, and they live and end together."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.curl import without_heartbeats
from tests.support.hand_upstream import HandUpstream
from tests.support.sseproxy_process import SseproxyProcess

WORKERS = 2
STREAM = {"Accept": "text/event-stream"}

#: The kernel deals connections out by a hash of their addresses; that so many all go to one worker will not happen.
MANY = 100


@contextlib.contextmanager
def two_workers(tmp_path: Path, upstream: str, *, admin: str = "127.0.0.1:0") -> Iterator[SseproxyProcess]:
    """Two workers, each of which takes one stream, as `limits` counts them, and answers for a silent upstream."""
    config = tmp_path / "sseproxy.yaml"
    server = {"listen": "127.0.0.1:0", "workers": WORKERS}
    routes = [{"upstream": upstream, "limits": {"streams": 1}, "heartbeat": {"before_response": "10ms"}}]
    config.write_text(json.dumps({"server": server, "admin": {"listen": admin}, "routes": routes}))
    with SseproxyProcess("-c", str(config)) as process:
        yield process


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that live."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("this machine does not show its processes in /proc")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(folder.name))
    return found


def test_all_workers_serve_the_same_port(tmp_path: Path) -> None:
    with HandUpstream() as silent, two_workers(tmp_path, silent.url) as proxy, contextlib.ExitStack() as streams:
        answers: list[int] = []
        while answers.count(200) < WORKERS and len(answers) < MANY:
            request = streams.enter_context(Request(proxy.url, "/", headers=STREAM))
            answers.append(request.status)
        assert answers.count(200) == WORKERS
        refused = [fetch(proxy.url, "/", headers=STREAM) for _ in range(WORKERS)]
        assert [answer.status for answer in refused] == [503] * WORKERS


def test_the_admin_listener_answers_with_workers_too(tmp_path: Path) -> None:
    with two_workers(tmp_path, "http://127.0.0.1:9", admin=f"unix:{tmp_path}/admin.sock") as proxy:
        assert [fetch(proxy.urls[1], path).status for path in ("/healthz", "/readyz") for _ in range(4)] == [200] * 8
    assert not (tmp_path / "admin.sock").exists()


def test_every_worker_knows_a_request_that_comes_back(tmp_path: Path) -> None:
    """An untrusted peer's ``Via`` is replaced, so two that did not know each other would pass it on for ever."""
    with HandUpstream() as upstream, two_workers(tmp_path, upstream.url) as proxy:
        with Request(proxy.url, "/") as request, upstream.accept() as call:
            call.answer(b"served")
            assert request.read() == b"served"
        upstream.close()
        back = {"Via": call.fields[b"via"].decode()}
        assert {fetch(proxy.url, "/", headers=back).status for _ in range(MANY)} == {508}
        assert fetch(proxy.url, "/").status == 502


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with HandUpstream() as upstream, two_workers(tmp_path, upstream.url) as proxy:
        victim, survivor = children(proxy.pid)
        os.kill(victim, signal.SIGKILL)
        proxy.stderr.wait_for(lambda lines: any("ended with -9" in line for line in lines))
        # Whoever is connected to the dead one's socket meanwhile is served by its successor.
        for _ in range(8):
            with Request(proxy.url, "/") as request, upstream.accept() as call:
                call.answer(b"served")
                assert request.read() == b"served"
        assert survivor in children(proxy.pid)


def test_an_end_is_known_to_every_worker(tmp_path: Path) -> None:
    """A browser comes back to whichever of them the kernel chooses, and one may have died meanwhile."""
    config = tmp_path / "sseproxy.yaml"
    with HandUpstream() as upstream:
        server = {"listen": "127.0.0.1:0", "workers": WORKERS}
        config.write_text(json.dumps({"server": server, "routes": [{"upstream": upstream.url, "end": {}}]}))
        with SseproxyProcess("-c", str(config)) as proxy:
            with Request(proxy.url, "/", headers=STREAM) as request, upstream.accept() as call:
                call.begin()
                call.finish()
                name = request.read().decode().strip().removeprefix("id: ")
            back = {**STREAM, "Last-Event-ID": name}
            assert {fetch(proxy.url, "/", headers=back).status for _ in range(MANY)} == {204}
            os.kill(children(proxy.pid)[0], signal.SIGKILL)
            proxy.stderr.wait_for(lambda lines: any("ended with -9" in line for line in lines))
            assert {fetch(proxy.url, "/", headers=back).status for _ in range(MANY)} == {204}


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    killed = pytest.raises(AssertionError, match=f"exit code -{signal.SIGKILL:d}")
    with killed, two_workers(tmp_path, "http://127.0.0.1:9") as proxy:
        assert len(children(proxy.pid)) == WORKERS
        proxy.send_signal(signal.SIGKILL)
        proxy.wait()  # until nobody holds the other ends of its pipes any more, the workers neither


def test_no_worker_takes_connections_while_they_drain(tmp_path: Path) -> None:
    """Every process must have closed the sockets of all, or the kernel would go on dealing out connections."""
    with (
        HandUpstream() as upstream,
        two_workers(tmp_path, upstream.url) as proxy,
        Request(proxy.url, "/") as request,
        upstream.accept() as call,
    ):
        call.begin()
        call.send(b"data: 1\n\ndata: unfinished")
        request.wait_for(b"data: 1\n\n")
        proxy.send_signal(signal.SIGTERM)
        proxy.stderr.wait_for(lambda lines: sum("draining" in line for line in lines) == WORKERS)
        for _ in range(MANY):
            with pytest.raises(ConnectionRefusedError):
                Request(proxy.url, "/")
        call.send(b"\n\n")
        call.finish()
        assert without_heartbeats(request.read()) == b"data: 1\n\ndata: unfinished\n\n"
