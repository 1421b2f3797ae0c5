"""Can an operator see each open stream, end one, and do no harm by looking?"""

import contextlib
import json
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.scrape import end_stream, streams, value, wait_until
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.whatwg import parse

STREAM = {"Accept": "text/event-stream"}


@contextlib.contextmanager
def proxy(folder: Path, upstream: HandUpstream, *, workers: int = 1, admin: object = None) -> Iterator[SseproxyProcess]:
    route = {
        "name": "chat",
        "upstream": upstream.url,
        "dialect": "generic",
        "heartbeat": {"interval": "15s", "before_response": "50ms"},
        "timeouts": {"idle": "5m"},
    }
    config = {
        "server": {"listen": "127.0.0.1:0", "workers": workers},
        "admin": {"listen": "127.0.0.1:0"} if admin is None else admin,
        "routes": [route],
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    with SseproxyProcess("-c", str(folder / "c.yaml")) as process:
        yield process


@contextlib.contextmanager
def open_stream(process: SseproxyProcess, upstream: HandUpstream, target: str) -> Iterator[tuple[Request, Call]]:
    with Request(process.url, target, headers=STREAM) as request, upstream.accept() as call:
        call.begin()
        call.send(b"data: 1\n\n")
        request.wait_for(b"data: 1\n\n")
        yield request, call


def test_what_the_list_says_of_a_stream(tmp_path: Path) -> None:
    with HandUpstream() as upstream, proxy(tmp_path, upstream) as process:
        admin = process.urls[-1]
        assert streams(admin) == []
        with open_stream(process, upstream, "/a/b?token=hunter2") as (request, call):
            [row] = streams(admin)
            assert row["path"] == "/a/b"
            assert (row["route"], row["peer"], row["phase"], row["dialect"]) == ("chat", "127.0.0.1", "open", "generic")
            assert (row["events"], row["bytes"], row["heartbeats"], row["journal"]) == (1, 9, 0, None)
            assert (row["heartbeat_interval"], row["silence_limit"]) == (15, 300)
            assert 0 <= row["last_upstream_byte"] == row["silence"] <= row["longest_silence"] <= row["age"]
            call.finish()
            request.read()
        wait_until(lambda: streams(admin) == [], "the stream is gone")


def test_a_stream_that_waits_and_a_body_that_is_none(tmp_path: Path) -> None:
    with HandUpstream() as upstream, proxy(tmp_path, upstream) as process:
        admin = process.urls[-1]
        with Request(process.url, "/waits", headers=STREAM) as request, upstream.accept():
            request.wait_for(b": heartbeat")
            [row] = streams(admin)
            assert (row["phase"], row["last_upstream_byte"], row["heartbeats"]) == ("waiting", None, 1)
            assert row["silence_limit"] == 900, "what ends it now is timeouts.response"
        with Request(process.url, "/file") as request, upstream.accept() as call:
            call.begin((b"Content-Type: application/octet-stream",))
            call.send(b"begun")
            request.wait_for(b"begun")
            wait_until(lambda: [row["path"] for row in streams(admin)] == ["/file"], "the download is in the list")
            [row] = streams(admin)
            assert (row["dialect"], row["bytes"], row["heartbeat_interval"]) == (None, 5, None)
            assert value(admin, "sseproxy_streams_open") == 0
            assert end_stream(admin, row["id"]) == 204
            with pytest.raises(Exception, match=r"IncompleteRead|reset"):
                request.read()


@pytest.mark.parametrize("workers", [1, 2])
def test_one_stream_is_ended_and_no_other(tmp_path: Path, workers: int) -> None:
    with (
        HandUpstream() as upstream,
        proxy(tmp_path, upstream, workers=workers) as process,
        contextlib.ExitStack() as stack,
    ):
        admin = process.urls[-1]
        opened = {
            f"/{number}": stack.enter_context(open_stream(process, upstream, f"/{number}")) for number in range(20)
        }
        ids = {row["path"]: row["id"] for row in streams(admin)}
        assert ids.keys() == opened.keys()
        assert len({name.partition("-")[0] for name in ids.values()}) == workers
        for path in list(opened)[:4]:
            request, call = opened.pop(path)
            assert end_stream(admin, ids[path]) == 204
            with pytest.raises(Exception, match=r"IncompleteRead|reset"):
                request.read()
            event = parse(request.body).events[-1]
            assert (event.type, json.loads(event.data)["type"]) == ("error", "killed")
            call.wait_until_left()
            assert end_stream(admin, ids[path]) == 404
        assert {row["path"] for row in streams(admin)} == opened.keys()
        wait_until(lambda: value(admin, "sseproxy_streams_total", reason="killed") == 4, "all four are counted")
        for request, call in opened.values():
            call.send(b"data: last\n\n")
            call.finish()
            assert request.read().endswith(b"data: last\n\n")
    assert sum("reason=killed" in line for line in process.stdout.lines) == 4
    assert sum("an operator has ended the stream" in line for line in process.stderr.lines) == 4


def test_a_stream_that_waits_is_ended_too(tmp_path: Path) -> None:
    with (
        HandUpstream() as upstream,
        proxy(tmp_path, upstream) as process,
        Request(process.url, "/", headers=STREAM) as request,
        upstream.accept() as call,
    ):
        request.wait_for(b": heartbeat")
        [row] = streams(process.urls[-1])
        assert end_stream(process.urls[-1], row["id"]) == 204
        with pytest.raises(Exception, match=r"IncompleteRead|reset"):
            request.read()
        assert b'"type": "killed"' in request.body
        call.wait_until_left()


def test_whom_it_answers(tmp_path: Path) -> None:
    listen = {"listen": "127.0.0.1:0", "hosts": ["Metrics.example"]}
    with HandUpstream() as upstream, proxy(tmp_path, upstream, admin=listen) as process:
        admin = process.urls[-1]
        with open_stream(process, upstream, "/") as (request, _):
            [row] = streams(admin)
            assert end_stream(admin, row["id"], Accept="*/*") == 403, "no X-Requested-With"
            evil = {"Host": "evil.example", "X-Requested-With": "x"}
            assert end_stream(admin, row["id"], **evil) == 421
            cross = {"Sec-Fetch-Site": "cross-site", "X-Requested-With": "x"}
            assert end_stream(admin, row["id"], **cross) == 403
            assert len(streams(admin)) == 1
            request.close()
        for path in ("/metrics", "/streams", "/healthz", "/readyz"):
            assert fetch(admin, path, headers={"Host": "metrics.example:9090"}).status == 200
            assert fetch(admin, path, headers={"Host": "evil.example"}).status == 421
            assert fetch(admin, path, headers={"Sec-Fetch-Site": "same-site"}).status == 403
        assert fetch(admin, "/other").status == 404
        assert fetch(admin, "/streams/x").status == 405
        assert end_stream(admin, "0-0000-1") == 404


def test_stuck_scrapers_disturb_neither_streams_nor_health_checks(tmp_path: Path) -> None:
    with HandUpstream() as upstream, proxy(tmp_path, upstream) as process, contextlib.ExitStack() as stuck:
        admin = process.urls[-1]
        address = ("127.0.0.1", int(admin.rpartition(":")[2]))
        with open_stream(process, upstream, "/") as (request, call):
            for number in range(50):
                client = stuck.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                client.connect(address)
                if number % 3:  # others do not even ask, or do not end their question
                    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n" * (number % 3 - 1))
            for number in range(20):
                call.send(b"data: %d!\n\n" % number)
                request.wait_for(b"data: %d!\n\n" % number)
                assert fetch(admin, "/healthz").status == 200
            descriptors = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            assert descriptors < 50, "those that are stuck are closed, the oldest first"
            call.finish()
            request.read()


def two_workers(folder: Path, temporary: Path) -> SseproxyProcess:
    """Without streams; its workers find each other below `temporary`."""
    config = {
        "server": {"listen": "127.0.0.1:0", "workers": 2},
        "admin": {"listen": "127.0.0.1:0"},
        "routes": [{"upstream": "http://127.0.0.1:9"}],
    }
    (folder / "c.yaml").write_text(json.dumps(config))
    return SseproxyProcess("-c", str(folder / "c.yaml"), environment={"TMPDIR": str(temporary)})


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder whose name is short enough for sockets, as pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_nothing_is_left_over(tmp_path: Path, temporary: Path) -> None:
    """Of the folder in which the workers find each other, which only their user may enter."""
    with two_workers(tmp_path, temporary) as process:
        [folder] = temporary.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert fetch(process.urls[-1], "/metrics").status == 200
        assert {path.name for path in folder.iterdir()} >= {"0.socket", "1.socket", "0.figures", "1.figures"}
    assert list(temporary.iterdir()) == []


def test_nothing_is_left_over_when_the_parent_is_killed(tmp_path: Path, temporary: Path) -> None:
    killed = pytest.raises(AssertionError, match=f"exit code -{signal.SIGKILL:d}")
    with killed, two_workers(tmp_path, temporary) as process:
        assert fetch(process.urls[-1], "/metrics").status == 200
        process.send_signal(signal.SIGKILL)
        process.wait()  # until the workers have closed its pipes, too
    wait_until(lambda: list(temporary.iterdir()) == [], "the last worker has removed the folder")


def test_a_folder_whose_name_is_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with (
        pytest.raises(AssertionError, match="is too long a name for the sockets of the workers: set TMPDIR"),
        two_workers(tmp_path, deep),
    ):
        pass
