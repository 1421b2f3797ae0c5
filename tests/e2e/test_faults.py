"""What becomes of a stream when the upstream breaks, and what when the client does? (docs/ends.md)"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import dying_upstream
from tests.support.blocking_peer import (
    CHUNKED_STREAM,
    LAST_CHUNK,
    STREAM_HEAD,
    Body,
    ClientPeer,
    End,
    UpstreamPeer,
    chunk,
)
from tests.support.fault_stand import LOOPS, Stand, plain_error, standing
from tests.support.patience import LIMIT
from tests.support.programs import require

ONE, TWO = b"id: 1\ndata: one\n\n", b"id: 2\ndata: two\n\n"

_ROUTES = """
plain
beats   heartbeat: {interval: 20ms}
short   limits: {line: 1KiB} | heartbeat: {interval: 20ms}
frozen  timeouts: {idle: 300ms, response: 300ms} | heartbeat: {interval: 20ms}
write   timeouts: {write: 800ms}
stall   timeouts: {write: 5s}
steady  timeouts: {write: 3s}
vanish  timeouts: {write: 800ms} | heartbeat: {interval: 20ms}
"""

Leave = Callable[[ClientPeer], None]
LEAVES = [pytest.param(ClientPeer.reset, id="reset"), pytest.param(ClientPeer.close, id="close")]


REMARK = b": upstream_error\n"


def has_broken_off(body: Body, arrived: bytes) -> bool:
    """Whether a stream ends with what arrived, an error event that blames the upstream, and no last chunk."""
    assert body.without_comments.startswith(arrived)
    assert plain_error(body.without_comments.removeprefix(arrived), "upstream_error")
    assert body.rest == b""
    return not body.is_whole


@pytest.fixture(scope="module", params=LOOPS)
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(_ROUTES, tmp_path_factory.mktemp("faults"), loop=request.param) as stand:
        yield stand


# The upstream breaks.


@pytest.mark.parametrize("leave", [UpstreamPeer.reset, UpstreamPeer.close])
def test_an_upstream_that_breaks_before_its_head_is_a_bad_gateway(
    stand: Stand, leave: Callable[[UpstreamPeer], None]
) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path, headers=["Accept: text/event-stream"])
    leave(upstream)
    assert client.read_answer()[0].status == 502
    assert stand.reason(path) == "upstream_error"


@pytest.mark.parametrize("route", ["plain", "beats"])
@pytest.mark.parametrize("leave", [UpstreamPeer.reset, UpstreamPeer.close])
@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        pytest.param(b"", b"", id="after the head"),
        pytest.param(chunk(ONE), ONE, id="at a boundary"),
        pytest.param(chunk(ONE + b"id: 2\n"), ONE + b"id: 2\n", id="inside an event"),
        pytest.param(chunk(ONE) + b"40\r\n" + TWO, ONE + TWO, id="in a chunk, after an event"),
        pytest.param(chunk(ONE) + b"%x" % len(TWO), ONE, id="in a chunk size"),
    ],
)
def test_what_arrived_whole_is_delivered_and_never_a_clean_end(
    stand: Stand, route: str, leave: Callable[[UpstreamPeer], None], sent: bytes, arrives: bytes
) -> None:
    path = stand.path(route)
    client, upstream = stand.ask(path)
    upstream.send(CHUNKED_STREAM + sent)
    leave(upstream)
    assert client.read_head().status == 200
    body = client.read_body()
    if arrives.endswith(b"\n\n") or not arrives:
        assert has_broken_off(body, arrives)
    else:
        assert body == Body(body.data, is_whole=False, rest=b"")
        assert body.without_comments == arrives + REMARK
    assert stand.reason(path) == "upstream_error"


def test_an_unfinished_line_is_dropped_while_heartbeats_are_on(stand: Stand) -> None:
    client, upstream = stand.stream(stand.path("beats"), ONE, b"id: 2\ndata: tw")
    client.read_until(b"id: 2\n")
    client.read_exactly(2)
    upstream.reset()
    body = client.read_body()
    assert not body.is_whole
    assert body.without_comments == REMARK


def test_a_body_that_is_shorter_than_it_said_is_broken_off(stand: Stand) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path)
    upstream.send(STREAM_HEAD + b"Content-Length: 100\r\n\r\n" + ONE)
    upstream.close()
    assert "content-length" not in client.read_head().headers
    body = client.read_body()
    assert has_broken_off(body, ONE)
    assert stand.reason(path) == "upstream_error"


def test_a_short_ordinary_body_is_broken_off(stand: Stand) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nnot all")
    upstream.close()
    assert client.read_head().headers["content-length"] == "100"
    assert client.read_to_end()[0] == b"not all"
    assert stand.reason(path) == "upstream_error"


@pytest.mark.parametrize("garbage", [b"zz\r\n", b"5;\x00\r\nhello\r\n", b"-1\r\n\r\n", b"f" * 17 + b"\r\n"])
def test_a_malformed_chunk_ends_the_stream_after_the_last_whole_event(stand: Stand, garbage: bytes) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path)
    upstream.send(CHUNKED_STREAM + chunk(ONE) + garbage)
    assert client.read_head().status == 200
    body = client.read_body()
    assert has_broken_off(body, ONE)
    assert upstream.read_to_end()[0] == b""
    assert stand.reason(path) == "upstream_error"


@pytest.mark.parametrize("leave", [UpstreamPeer.reset, UpstreamPeer.close])
@pytest.mark.parametrize("size", [1, 1000, 60_000])
def test_the_last_whole_event_in_the_packet_that_ends_it_is_never_lost(
    stand: Stand, leave: Callable[[UpstreamPeer], None], size: int
) -> None:
    last = b"data: " + b"x" * size + b"\n\n"
    for _ in range(5):
        client, upstream = stand.ask(stand.path("beats"))
        upstream.send(CHUNKED_STREAM + chunk(ONE) + chunk(last))
        leave(upstream)
        client.read_head()
        body = client.read_body()
        assert has_broken_off(body, ONE + last)


def test_a_body_that_ends_with_the_connection_ends_cleanly(stand: Stand) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path)
    upstream.send(STREAM_HEAD + b"\r\n" + ONE)
    upstream.close()
    client.read_head()
    body = client.read_body()
    assert (body.data, body.is_whole) == (ONE, True)
    assert stand.reason(path) == "upstream_end"


def test_a_body_that_should_end_with_the_connection_but_is_reset_is_broken(stand: Stand) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path)
    upstream.send(STREAM_HEAD + b"\r\n" + ONE)
    client.read_head()
    assert client.read_chunk() == ONE
    upstream.reset()
    assert has_broken_off(client.read_body(), b"")
    assert stand.reason(path) == "upstream_error"


@pytest.mark.parametrize("framing", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
def test_an_upstream_that_answers_without_reading_the_body_is_let_go(stand: Stand, framing: str) -> None:
    path = stand.path("plain")
    client = stand.client()
    client.ask(path, method="POST", headers=[framing])
    client.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    upstream = stand.upstream.accept()
    client.send_until_stuck(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    upstream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
    answer, body = client.read_answer()
    assert (answer.status, body) == (401, b"no")
    upstream.seconds_until_gone(time.monotonic())
    assert stand.reason(path) == "upstream_end"


# What a client that has no chunks, and curl, make of it.


@pytest.mark.parametrize("leave", [UpstreamPeer.reset, UpstreamPeer.close])
def test_a_client_without_chunks_gets_the_last_event_and_then_a_reset(
    stand: Stand, leave: Callable[[UpstreamPeer], None]
) -> None:
    client, upstream = stand.ask(stand.path("plain"), version="1.0")
    upstream.send(CHUNKED_STREAM + chunk(ONE) + chunk(TWO))
    leave(upstream)
    assert "transfer-encoding" not in client.read_head().headers
    data, end = client.read_to_end()
    assert data.startswith(ONE + TWO)
    assert plain_error(data.removeprefix(ONE + TWO), "upstream_error")
    assert end is End.RESET


def test_a_client_without_chunks_gets_a_clean_end(stand: Stand) -> None:
    client, upstream = stand.stream(stand.path("plain"), ONE, version="1.0")
    upstream.send(LAST_CHUNK)
    assert client.read_to_end() == (ONE, End.CLOSED)


@pytest.mark.parametrize(("version", "says"), [("--http1.1", 18), ("--http1.0", 56)])
def test_curl_notices_that_the_stream_is_not_whole(stand: Stand, version: str, says: int) -> None:
    curl = subprocess.Popen(
        [require("curl"), "--no-progress-meter", "--no-buffer", version, stand.proxy.url + stand.path("plain")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with stand.upstream.accept() as upstream:
        upstream.send(CHUNKED_STREAM + chunk(ONE))
    out, err = curl.communicate(timeout=LIMIT)
    assert curl.returncode == says, err
    assert out.startswith(ONE)
    assert plain_error(out.removeprefix(ONE), "upstream_error")


# The upstream is a process of its own.


@pytest.fixture
def victim() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen([sys.executable, dying_upstream.__file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("number", "reason"), [(signal.SIGKILL, "upstream_error"), (signal.SIGSTOP, "idle_timeout")])
def test_an_upstream_process_that_is_killed_or_frozen(
    victim: tuple[subprocess.Popen[str], str], tmp_path: Path, loop: str, number: signal.Signals, reason: str
) -> None:
    process, url = victim
    silence = "3s" if number is signal.SIGSTOP else "60s"  # on a busy machine it is silent for a while by itself
    routes = (
        f"real upstream: {url} | timeouts: {{idle: {silence}, response: {silence}}} | heartbeat: {{interval: 20ms}}"
    )
    with standing(routes, tmp_path, loop=loop) as stand:
        path = stand.path("real")
        client = stand.client()
        client.ask(path)
        assert client.read_head().status == 200
        client.read_until(b"data: 3\n\n")
        os.kill(process.pid, number)
        rest, _ = client.read_to_end()
        assert not rest.endswith(LAST_CHUNK)
        assert stand.reason(path) == reason
        if number is signal.SIGSTOP:
            assert b'event: error\ndata: {"type": "idle_timeout", "status": 504' in rest
            late = stand.path("real")
            client = stand.client()
            client.ask(late)
            assert client.read_answer()[0].status == 504
            assert stand.reason(late) == "response_timeout"


# Large things.


def test_nine_kilobytes_of_header_pass_both_ways(stand: Stand) -> None:
    value = "v" * 9216
    client, upstream = stand.ask(stand.path("plain"), headers=[f"X-Large: {value}"])
    assert upstream.request.headers["x-large"] == value
    upstream.send(STREAM_HEAD + b"X-Large: " + value.encode() + b"\r\n\r\n")
    upstream.close()
    assert client.read_head().headers["x-large"] == value
    assert client.read_body().is_whole


@pytest.mark.parametrize("route", ["plain", "beats", "short"])
def test_a_line_of_100_000_bytes_arrives_whole_with_heartbeats_around_it(stand: Stand, route: str) -> None:
    line = b"data: " + b"x" * 100_000 + b"\n\n"
    client, upstream = stand.stream(stand.path(route), ONE)
    if route != "plain":
        client.read_until(b": heartbeat\n")
    half = len(line) // 2
    upstream.send_events(line[:half])
    upstream.send_events(line[half:])
    upstream.send_events(TWO)
    client.read_until(TWO + b"\r\n")
    if route != "plain":
        client.read_until(b": heartbeat\n")
    upstream.send(LAST_CHUNK)
    client.read_until(LAST_CHUNK)


@pytest.mark.parametrize(
    ("route", "length", "held"), [("beats", 60_000, True), ("beats", 70_000, False), ("short", 2000, False)]
)
def test_a_line_is_held_back_up_to_the_limit(stand: Stand, route: str, length: int, held: bool) -> None:
    line = b"data: " + b"x" * length
    client, upstream = stand.stream(stand.path(route), ONE)
    upstream.send_events(line)
    if held:
        got = client.read_until(b": heartbeat\n")
        assert b"xxx" not in got
    else:
        client.read_until(line)
    upstream.send_events(b"\n\n", TWO)
    upstream.send(LAST_CHUNK)
    data = client.read_until(LAST_CHUNK)
    assert data.count(b"x") == (length if held else 0)
    assert TWO in data


# The client leaves.


def noticed(stand: Stand, upstream: UpstreamPeer, path: str, since: float) -> None:
    """The upstream's connection is closed, and the log says why. The figure is printed (pytest -rP)."""
    seconds = upstream.seconds_until_gone(since)
    sys.stdout.write(f"the upstream noticed after {seconds:.4f} s\n")
    assert seconds < LIMIT / 4
    assert stand.reason(path) == "client_gone"


@pytest.mark.parametrize("leave", LEAVES)
def test_the_client_leaves_while_it_sends_its_body(stand: Stand, leave: Leave) -> None:
    path = stand.path("plain")
    client = stand.client()
    client.ask(path, method="POST", headers=["Content-Length: 1000"])
    client.send(b"not all")
    upstream = stand.upstream.accept()
    assert upstream.read_exactly(7) == b"not all"
    since = time.monotonic()
    leave(client)
    noticed(stand, upstream, path, since)


@pytest.mark.parametrize("leave", LEAVES)
def test_the_client_leaves_while_it_sends_a_body_that_the_upstream_does_not_take(stand: Stand, leave: Leave) -> None:
    path = stand.path("plain")
    client = stand.client()
    client.ask(path, method="POST", headers=[f"Content-Length: {1 << 30}"])
    upstream = stand.upstream.accept()
    client.send_until_stuck(b"x" * (1 << 20))
    while leave is ClientPeer.close and client.undelivered:  # an end queues up behind what was sent before it
        upstream.read_exactly(65536)
    since = time.monotonic()
    leave(client)
    noticed(stand, upstream, path, since)


@pytest.mark.parametrize("leave", LEAVES)
def test_the_client_leaves_behind_more_requests_than_are_read(stand: Stand, leave: Leave) -> None:
    path = stand.path("plain")
    client, upstream = stand.stream(path, ONE)
    assert client.read_chunk() == ONE
    client.send(b"GET /plain/next HTTP/1.1\r\nHost: example.test\r\n\r\n" * 1000)
    since = time.monotonic()
    leave(client)
    noticed(stand, upstream, path, since)


@pytest.mark.parametrize("leave", LEAVES)
def test_the_client_leaves_before_the_upstream_has_answered(stand: Stand, leave: Leave) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path)
    since = time.monotonic()
    leave(client)
    noticed(stand, upstream, path, since)


@pytest.mark.parametrize("route", ["plain", "beats"])
@pytest.mark.parametrize("leave", LEAVES)
def test_the_client_leaves_a_silent_stream(stand: Stand, route: str, leave: Leave) -> None:
    path = stand.path(route)
    client, upstream = stand.stream(path)
    since = time.monotonic()
    leave(client)
    noticed(stand, upstream, path, since)


@pytest.mark.parametrize("leave", LEAVES)
def test_the_client_leaves_in_the_middle_of_a_stream(stand: Stand, leave: Leave) -> None:
    path = stand.path("beats")
    client, upstream = stand.stream(path, ONE, b"data: half")
    client.read_until(ONE)
    since = time.monotonic()
    leave(client)
    noticed(stand, upstream, path, since)


@pytest.mark.parametrize("leave", LEAVES)
def test_the_client_leaves_while_it_takes_nothing(stand: Stand, leave: Leave) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path, receive_buffer=4096)
    upstream.send(CHUNKED_STREAM)
    upstream.send_until_stuck(chunk(b"data: " + b"x" * 1000 + b"\n\n"))
    since = time.monotonic()
    leave(client)
    noticed(stand, upstream, path, since)


# The client takes nothing, or little.


def test_a_client_that_takes_nothing_stops_the_upstream_and_is_cut_off(stand: Stand) -> None:
    path = stand.path("stall")
    client, upstream = stand.ask(path, receive_buffer=4096)
    upstream.send(CHUNKED_STREAM)
    taken = upstream.send_until_stuck(chunk(b"data: " + b"x" * 1000 + b"\n\n"))
    assert taken < 32 * 2**20  # what the kernel keeps on both sides, and one piece in between
    upstream.read_to_end()
    log = stand.logged(path)
    assert log["reason"] == "client_stalled"
    assert log["seconds"] < 2 * 5  # it is not given `timeouts.write` once more to take the rest
    rest, _ = client.read_to_end()
    assert not rest.endswith(LAST_CHUNK)


def test_a_client_that_takes_nothing_of_an_ordinary_body_is_cut_off(stand: Stand) -> None:
    path = stand.path("write")
    client, upstream = stand.ask(path, receive_buffer=4096)
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1073741824\r\n\r\n")
    upstream.send_until_stuck(b"x" * 65536)
    upstream.read_to_end()
    assert stand.reason(path) == "client_stalled"
    client.close()


@pytest.mark.parametrize("silence", ["an event", "heartbeats"])
def test_a_client_that_has_vanished_is_given_up(stand: Stand, silence: str) -> None:
    """Its kernel acknowledges nothing any more. What it is sent is little, so no buffer would ever be full."""
    path = stand.path("write" if silence == "an event" else "vanish")
    client, upstream = stand.stream(path, ONE)
    client.read_until(ONE)
    client.vanish()
    if silence == "an event":
        upstream.send_events(TWO)
    assert upstream.read_to_end()[0] == b""
    assert stand.reason(path) == "client_stalled"


@pytest.mark.parametrize(("buffer", "size"), [(4096, 8192), (None, 1 << 16)])
def test_a_slow_but_steady_client_is_not_cut_off(stand: Stand, buffer: int | None, size: int) -> None:
    """It takes a little several times in each `timeouts.write`, for longer than that."""
    path = stand.path("steady")
    client, upstream = stand.ask(path, receive_buffer=buffer)
    upstream.send(CHUNKED_STREAM)
    upstream.send_until_stuck(chunk(b"data: " + b"x" * 1000 + b"\n\n"))
    until, pause = time.monotonic() + 4.0, threading.Event()
    while time.monotonic() < until:
        assert client.socket.recv(size)
        pause.wait(0.05)
    upstream.close()
    client.read_to_end()
    assert stand.reason(path) == "upstream_error"
