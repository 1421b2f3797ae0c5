"""What does a client get when sseproxy itself fails in the middle of its stream? (docs/ends.md, ``internal_error``)"""

from collections.abc import Iterator

import pytest

from tests.support.blocking_peer import CHUNKED_STREAM, LAST_CHUNK, ClientPeer, UpstreamPeer, chunk
from tests.support.fault_stand import LOOPS, Stand, plain_error, standing

ONE, TWO, HALF = b"data: one\n\n", b"data: two\n\n", b"data: ha\n"

#: Which bytes the session fails on, after which event it fails when it is asked for the time, and after which one it
#: cannot even say that it has failed.
_DEFECTS = """
from sseproxy.core.stream.session import StreamSession

_forward, _timeout, _error = StreamSession.forward, StreamSession.handle_timeout, StreamSession.receive_error

def forward(self, data, now, **options):
    if b"defect" in data:
        raise RuntimeError("a defect in the way of bytes")
    return _forward(self, data, now, **options)

def handle_timeout(self, *, now):
    if self.stats.events == 3:
        raise RuntimeError("a defect in the clock")
    _timeout(self, now=now)

def receive_error(self, reason, *, now):
    if self.stats.events == 4:
        raise RuntimeError("a defect in the end")
    _error(self, reason, now=now)

StreamSession.forward, StreamSession.handle_timeout = forward, handle_timeout
StreamSession.receive_error = receive_error
"""
_ROUTES = """
plain
beats  heartbeat: {interval: 50ms}
"""


@pytest.fixture(scope="module", params=LOOPS)
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("defects")
    with standing(_ROUTES, folder, loop=request.param, defects=_DEFECTS) as stand:
        yield stand


def begun(stand: Stand, path: str, *events: bytes, method: str) -> tuple[ClientPeer, UpstreamPeer]:
    """A stream whose client has all of `events`."""
    client = stand.client()
    client.ask(path, method=method)
    upstream = stand.upstream.accept()
    upstream.send(CHUNKED_STREAM)
    assert client.read_head().status == 200
    for event in events:
        upstream.send_events(event)
        client.read_until(event + b"\r\n")
    return client, upstream


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_defect_in_the_way_of_bytes_is_an_error_event_and_a_broken_end(stand: Stand, method: str) -> None:
    path = stand.path("plain")
    client, upstream = begun(stand, path, ONE, method=method)
    other, other_upstream = begun(stand, stand.path("plain"), ONE, method=method)
    upstream.send_events(b"data: defect\n\n")
    body = client.read_body()
    assert plain_error(body.data, "internal_error")
    assert (body.is_whole, body.rest) == (False, b"")
    assert b"defect" not in body.data
    upstream.read_to_end()
    assert stand.reason(path) == "internal_error"
    other_upstream.send_events(TWO)
    other_upstream.send(LAST_CHUNK)
    rest = other.read_body()
    assert (rest.data, rest.is_whole) == (TWO, True)
    stand.proxy.stderr.wait_for(lambda lines: any("a defect in the way of bytes" in line for line in lines))


def test_a_defect_inside_an_event_leaves_room_for_a_comment_only(stand: Stand) -> None:
    path = stand.path("plain")
    client, upstream = begun(stand, path, ONE, HALF, method="POST")
    upstream.send_events(b"data: defect\n\n")
    body = client.read_body()
    assert (body.data, body.is_whole) == (b": internal_error\n", False)
    assert stand.reason(path) == "internal_error"


def test_a_defect_in_the_clock_does_not_leave_the_client_waiting(stand: Stand) -> None:
    path = stand.path("beats")
    client, upstream = begun(stand, path, ONE, ONE, TWO, method="POST")
    body = client.read_body()
    assert plain_error(body.without_comments, "internal_error")
    assert not body.is_whole
    upstream.read_to_end()
    assert stand.reason(path) == "internal_error"
    stand.proxy.stderr.wait_for(lambda lines: any("a defect in the clock" in line for line in lines))


@pytest.mark.parametrize(
    "last", [chunk(b"data: defect\n\n"), LAST_CHUNK, b"no chunk\r\n"], ids=["data", "end", "error"]
)
def test_a_stream_that_cannot_say_so_is_broken_off_without_words(stand: Stand, last: bytes) -> None:
    path = stand.path("plain")
    client, upstream = begun(stand, path, ONE, ONE, ONE, TWO, method="POST")
    upstream.send(last)
    body = client.read_body()
    assert (body.data, body.is_whole) == (b"", False)
    upstream.read_to_end()
    assert stand.reason(path) == "internal_error"
