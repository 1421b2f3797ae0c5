"""Does every stream end for one reason, which the client can tell by the way it ends, and the log names?"""

import contextlib
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sseproxy.core.stream.dialects import Dialect
from tests.support.blocking_peer import CHUNKED_STREAM, LAST_CHUNK, Body, ClientPeer, End, UpstreamPeer
from tests.support.fault_stand import LOOPS, STATUSES, Stand, plain_error, standing
from tests.support.processes import children, has_ended, wait_until
from tests.support.unreachable import Unreachable
from tests.support.whatwg import parse

ONE, TWO = b"id: 1\ndata: one\n\n", b"id: 2\ndata: two\n\n"
HALF, REST = b"data: ha\n", b"data: lf\n\n"
DIALECTS = [dialect.value for dialect in Dialect if dialect is not Dialect.AUTO]
FORMS = {"gemini": "blank"}
EVENT_SOURCE = ["Accept: text/event-stream", "Cache-Control: no-cache"]

_ROUTES = "\n".join(
    f"{name}-{dialect} dialect: {dialect} | timeouts: {timeouts}"
    f" | heartbeat: {{form: {FORMS.get(dialect, 'comment-line')}}}"
    for dialect in DIALECTS
    for name, timeouts in (("idle", "{idle: 300ms}"), ("max", "{max_duration: 500ms}"))
)
_MORE_ROUTES = """
beats    timeouts: {idle: 300ms} | heartbeat: {interval: 20ms}
response timeouts: {response: 300ms}
refused  upstream: REFUSED
silent   upstream: SILENT | timeouts: {connect: 300ms}
"""


@pytest.fixture(scope="module", params=LOOPS)
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Unreachable() as nobody:
        routes = _ROUTES + _MORE_ROUTES.replace("REFUSED", nobody.refusing_url).replace("SILENT", nobody.silent_url)
        with standing(routes, tmp_path_factory.mktemp("ends"), loop=request.param) as stand:
            yield stand


def error_told(data: bytes, dialect: str, reason: str) -> bool:
    """Whether `data` is one event that says what went wrong, and how badly; of MCP a comment, as no request waits."""
    if dialect == "mcp":
        return data == f": {reason}\n".encode()
    [event] = parse(data).events
    return "error" in json.loads(event.data) and str(STATUSES[reason]) in event.data and data.count(b"data:") == 1


# The upstream falls silent.


def test_a_silent_upstream_ends_a_generic_stream_with_an_error_event_and_an_abort(stand: Stand) -> None:
    path = stand.path("idle-generic")
    client, upstream = stand.stream(path, ONE)
    body = client.read_body()
    assert body.data.startswith(ONE)
    assert plain_error(body.data.removeprefix(ONE), "idle_timeout")
    assert not body.is_whole
    assert stand.reason(path) == "idle_timeout"
    upstream.read_to_end()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_silent_upstream_ends_a_dialect_s_stream_with_its_error_event_and_an_abort(
    stand: Stand, dialect: str
) -> None:
    path = stand.path(f"idle-{dialect}")
    client, _upstream = stand.stream(path, ONE)
    body = client.read_body()
    assert not body.is_whole
    assert body.data.startswith(ONE)
    assert error_told(body.data.removeprefix(ONE), dialect, "idle_timeout")
    assert stand.reason(path) == "idle_timeout"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_silence_inside_an_event_is_an_abort_whatever_the_dialect(stand: Stand, dialect: str) -> None:
    path = stand.path(f"idle-{dialect}")
    client, _upstream = stand.stream(path, ONE, HALF)
    body = client.read_body()
    remark = b"" if dialect == "gemini" else b": idle_timeout\n"
    assert (body.data, body.is_whole) == (ONE + HALF + remark, False)
    assert stand.reason(path) == "idle_timeout"


def test_silence_inside_a_line_leaves_no_room_for_words(stand: Stand) -> None:
    path = stand.path("idle-generic")
    client, _upstream = stand.stream(path, ONE, b"data: h")
    body = client.read_body()
    assert (body.data, body.is_whole) == (ONE + b"data: h", False)
    assert stand.reason(path) == "idle_timeout"


def test_heartbeats_do_not_keep_a_silent_upstream_alive(stand: Stand) -> None:
    path = stand.path("beats")
    client, _upstream = stand.stream(path, ONE, b"data: h")
    body = client.read_body()
    assert body.without_comments.startswith(ONE)
    assert plain_error(body.without_comments.removeprefix(ONE), "idle_timeout")
    assert not body.is_whole
    log = stand.logged(path)
    assert (log["reason"], log["events"]) == ("idle_timeout", 1)
    assert log["heartbeats"] == body.data.count(b": heartbeat\n") > 1


# The stream has lived long enough.


@pytest.mark.parametrize(
    ("route", "headers"),
    [("max-generic", []), ("max-generic", EVENT_SOURCE), ("max-mcp", ["Mcp-Session-Id: s"])],
    ids=["curl", "EventSource", "MCP"],
)
@pytest.mark.parametrize("begun", [b"", HALF])
def test_the_maximum_duration_is_an_end_at_an_event_boundary(
    stand: Stand, begun: bytes, route: str, headers: list[str]
) -> None:
    path = stand.path(route)
    client, upstream = stand.stream(path, ONE + begun, headers=headers)
    before = ONE + begun
    if begun:
        assert client.read_chunk() == before
        client.expect_silence(0.7)
        upstream.send_events(REST + TWO)
        before = REST
    body = client.read_body()
    assert body.data.startswith(before)
    comes_back = bool(headers)
    if comes_back:
        assert re.fullmatch(rb"retry: \d{4}\n\n", body.data.removeprefix(before))
    else:
        assert plain_error(body.data.removeprefix(before), "max_duration")
    assert body.is_whole is comes_back
    assert stand.reason(path) == "max_duration"
    upstream.read_to_end()


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect != "mcp"])  # which comes back
def test_the_maximum_duration_in_a_dialect_is_an_error_event(stand: Stand, dialect: str) -> None:
    path = stand.path(f"max-{dialect}")
    client, _upstream = stand.stream(path, ONE)
    body = client.read_body()
    assert not body.is_whole
    assert error_told(body.data.removeprefix(ONE), dialect, "max_duration")
    assert stand.reason(path) == "max_duration"


# There is no stream at all.


@pytest.mark.parametrize(
    ("route", "status", "reason", "error"),
    [
        ("response", 504, "response_timeout", "http_response_timeout"),
        ("refused", 502, "connect_error", "connection_refused"),
        ("silent", 502, "connect_error", "connection_timeout"),
    ],
)
def test_without_a_response_there_is_an_honest_status(
    stand: Stand, route: str, status: int, reason: str, error: str
) -> None:
    path = stand.path(route)
    client = stand.client()
    client.ask(path, headers=["Accept: text/event-stream"])
    upstream = stand.upstream.accept() if route == "response" else None
    answer, body = client.read_answer()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert f"error={error}" in answer.headers["proxy-status"]
    assert json.loads(body)["status"] == status
    assert b"127.0.0.1" not in body
    assert stand.reason(path) == reason
    if upstream is not None:
        upstream.read_to_end()


# The process ends.


def admin_url(stand: Stand) -> str:
    found = re.search(r"admin on (http://[\w.:]+)", stand.proxy.stderr.text)
    assert found is not None
    return found[1]


def readiness(stand: Stand) -> int:
    try:
        with urllib.request.urlopen(admin_url(stand) + "/readyz") as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def is_refused(stand: Stand) -> bool:
    try:
        stand.client().close()
    except ConnectionRefusedError:
        return True
    return False


def post(stand: Stand, path: str) -> tuple[ClientPeer, UpstreamPeer]:
    client = stand.client()
    client.ask(path, method="POST", headers=["Accept: text/event-stream"], body=b"{}")
    upstream = stand.upstream.accept()
    assert upstream.read_exactly(2) == b"{}"
    return client, upstream


def begin(client: ClientPeer, upstream: UpstreamPeer, *events: bytes) -> None:
    upstream.send(CHUNKED_STREAM)
    upstream.send_events(*events)
    assert client.read_head().status == 200
    for event in events:
        client.read_until(event)
    client.read_exactly(2)


@pytest.fixture(
    params=[(loop, workers) for loop in LOOPS for workers in (1, 2)], ids=lambda each: f"{each[0]}-{each[1]}"
)
def shape(request: pytest.FixtureRequest) -> tuple[str, int]:
    loop, workers = request.param
    return loop, workers


def test_a_drain_lets_everything_come_to_its_end(shape: tuple[str, int], tmp_path: Path) -> None:
    loop, workers = shape
    drain = "{timeout: 2500ms, spread: 500ms}"
    with standing("plain", tmp_path, loop=loop, workers=workers, drain=drain) as stand:
        sources = [stand.stream(stand.path("plain"), ONE, headers=EVENT_SOURCE) for _ in range(8)]
        for client, _ in sources:
            assert client.read_chunk() == ONE
        api_path, half_path, long_path, stuck_path, feed_path, waiting_path = (stand.path("plain") for _ in range(6))
        api, api_upstream = post(stand, api_path)
        begin(api, api_upstream, ONE)
        half, half_upstream = post(stand, half_path)
        begin(half, half_upstream, ONE + HALF)
        long, long_upstream = post(stand, long_path)
        begin(long, long_upstream, ONE)
        stuck, stuck_upstream = post(stand, stuck_path)
        begin(stuck, stuck_upstream, ONE + HALF)
        feed, feed_upstream = stand.stream(feed_path, ONE, headers=EVENT_SOURCE[:1])  # it would not come back
        assert feed.read_chunk() == ONE
        waiting, waiting_upstream = post(stand, waiting_path)
        idle = stand.client()
        idle.ask("/nowhere")
        assert idle.read_answer()[0].status == 404
        assert readiness(stand) == 200

        stand.proxy.send_signal(signal.SIGTERM)

        assert idle.read_to_end() == (b"", End.CLOSED)
        wait_until(lambda: readiness(stand) == 503)
        wait_until(lambda: is_refused(stand))
        retries = set()
        for client, upstream in sources:
            body = client.read_body()
            found = re.fullmatch(rb"retry: (\d+)\n\n", body.data)
            assert body.is_whole
            assert found is not None
            retries.add(int(found[1]))
            upstream.read_to_end()
        assert min(retries) >= 1000
        assert len(retries) > 1
        for upstream, event in ((api_upstream, TWO), (half_upstream, REST + TWO)):
            upstream.send_events(event)
            upstream.send(LAST_CHUNK)
        for client, answer in ((api, TWO), (half, REST + TWO)):
            assert client.read_body() == Body(answer, is_whole=True, rest=b"")
        long_upstream.send_events(TWO)
        assert long.read_chunk() == TWO
        for client in (long, feed):
            body = client.read_body()
            assert plain_error(body.data, "drain")
            assert not body.is_whole
        body = stuck.read_body()
        assert (body.data, body.is_whole) == (b": drain\n", False)
        head, _ = waiting.read_answer()
        assert (head.status, head.headers["retry-after"]) == (503, "1")
        assert stand.proxy.wait() == 0
        for upstream in (api_upstream, half_upstream, long_upstream, stuck_upstream, feed_upstream, waiting_upstream):
            upstream.read_to_end()
        for path in (api_path, half_path):
            assert stand.reason(path) == "upstream_end"
        for path in (long_path, stuck_path, feed_path, waiting_path):
            assert stand.reason(path) == "drain"


def test_a_second_signal_ends_the_process_at_once(shape: tuple[str, int], tmp_path: Path) -> None:
    loop, workers = shape
    with standing("plain", tmp_path, loop=loop, workers=workers, drain="{timeout: 1h, spread: 1h}") as stand:
        path, waiting_path = stand.path("plain"), stand.path("plain")
        client, _upstream = stand.stream(path, ONE + HALF)
        waiting, _waiting_upstream = stand.ask(waiting_path)
        assert client.read_chunk() == ONE + HALF
        stand.proxy.send_signal(signal.SIGTERM)
        wait_until(lambda: readiness(stand) == 503)
        stand.proxy.send_signal(signal.SIGTERM)
        assert not client.read_body().is_whole
        assert waiting.read_answer()[0].status == 503
        assert stand.proxy.wait() == 0
        assert stand.reason(path) == stand.reason(waiting_path) == "drain"


def test_a_client_that_takes_nothing_does_not_hold_a_drain_up(tmp_path: Path) -> None:
    with standing("plain", tmp_path, drain="{timeout: 500ms, spread: off}") as stand:
        path = stand.path("plain")
        client, upstream = stand.ask(path, receive_buffer=4096)
        upstream.send(CHUNKED_STREAM)
        upstream.send_until_stuck(b"400\r\n" + b"x" * 1024 + b"\r\n")
        stand.proxy.send_signal(signal.SIGTERM)
        assert stand.proxy.wait() == 0
        assert stand.reason(path) == "drain"
        client.close()


# Workers.


@pytest.mark.parametrize("loop", LOOPS)
def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(tmp_path: Path, loop: str) -> None:
    with standing("plain", tmp_path, loop=loop, workers=2) as stand:
        streams = [stand.stream(stand.path("plain"), ONE) for _ in range(20)]
        for client, _ in streams:
            assert client.read_chunk() == ONE
        before = children(stand.proxy.pid)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        stand.proxy.stderr.wait_for(lambda lines: any("starting it again" in line for line in lines))
        alive = 0
        for client, upstream in streams:
            if upstream.is_open():
                alive += 1
                upstream.send_events(TWO)
                assert client.read_chunk() == TWO
                upstream.send(LAST_CHUNK)
                assert client.read_body().is_whole
            else:
                assert not client.read_body().is_whole
        assert 0 < alive < len(streams)
        for _ in range(20):
            client, upstream = stand.stream(stand.path("plain"), ONE)
            assert client.read_chunk() == ONE
        after = children(stand.proxy.pid)
        assert len(after) == 2
        assert before[1] in after


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    stand_is_open = standing("plain", tmp_path, workers=2)
    stand = stand_is_open.__enter__()
    feed, _upstream = stand.stream(stand.path("plain"), ONE)
    source, _source_upstream = stand.stream(stand.path("plain"), ONE, headers=EVENT_SOURCE)
    for client in (feed, source):
        assert client.read_chunk() == ONE
    workers = children(stand.proxy.pid)
    stand.proxy.send_signal(signal.SIGKILL)
    assert source.read_body().is_whole
    body = feed.read_body()
    assert plain_error(body.data, "drain")
    assert not body.is_whole
    wait_until(lambda: all(map(has_ended, workers)))
    assert stand.proxy.wait() == -signal.SIGKILL
    with contextlib.suppress(AssertionError):  # its exit code is not 0
        stand_is_open.__exit__(None, None, None)
