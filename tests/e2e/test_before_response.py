"""What does a client get that was promised a stream before the upstream had answered? (docs/requests.md)"""

import gzip
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.blocking_peer import CHUNKED_STREAM, LAST_CHUNK, STREAM_HEAD, Body, ClientPeer, UpstreamPeer, chunk
from tests.support.fault_stand import LOOPS, Stand, standing
from tests.support.unreachable import Unreachable
from tests.support.whatwg import EventStreamParser

ONE = b"id: 1\ndata: one\n\n"
BOM = b"\xef\xbb\xbf"
ACCEPT = ["Accept: text/event-stream"]
JSON = ["Content-Type: application/json"]

_EARLY = "heartbeat: {before_response: 100ms, interval: 20ms}"
#: So patient that an answer comes in time on any machine.
_PATIENT = "heartbeat: {before_response: 30s, interval: 20ms}"

_ROUTES = f"""
early    {_EARLY} | timeouts: {{response: 5s}}
always   {_EARLY} | stream: always
openai   {_EARLY} | dialect: openai-chat
prompt   {_PATIENT}
slow     {_EARLY} | timeouts: {{response: 2s}}
small    {_EARLY} | limits: {{request_body: 10}}
limited  {_EARLY} | timeouts: {{max_duration: 2s}}
refused  {_PATIENT} | upstream: REFUSED
silent   {_EARLY} | upstream: SILENT | timeouts: {{connect: 2s}}
"""


@pytest.fixture(scope="module", params=LOOPS)
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Unreachable() as nobody:
        routes = _ROUTES.replace("REFUSED", nobody.refusing_url).replace("SILENT", nobody.silent_url)
        with standing(routes, tmp_path_factory.mktemp("early"), loop=request.param) as stand:
            yield stand


def promised(client: ClientPeer) -> None:
    """The client has been answered, and hears heartbeats."""
    answer = client.read_head()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["date"].endswith(" GMT")
    assert client.read_chunk() == client.read_chunk() == b": heartbeat\n"


def waiting(stand: Stand, path: str, headers: Sequence[str] = ACCEPT) -> tuple[ClientPeer, UpstreamPeer]:
    client, upstream = stand.ask(path, headers=headers)
    promised(client)
    return client, upstream


def error_of(body: Body) -> Mapping[str, Any]:
    """The generic error event that is all there is but heartbeats, and behind which the end is broken."""
    assert not body.is_whole
    assert body.rest == b""
    event, data, *rest = body.without_comments.decode().split("\n")
    assert (event, rest) == ("event: error", ["", ""])
    told: Mapping[str, Any] = json.loads(data.removeprefix("data: "))
    return told


# Who has declared a stream.


@pytest.mark.parametrize(
    "pieces",
    [
        [b'{"stream": true}'],
        [b'{"str', b'eam": t', b"rue}"],
        [b'{"a":[1],"stream":true}'],
        [b'{"stream": true, "padding": "' + b"x" * 2**20 + b'"}'],
        [b'{"padding": "' + b"x" * 2**21 + b'", "stream": true}'],
        [b'{"stream": false, "stream": true}'],
    ],
    ids=["whole", "in pieces", "behind others", "before 1 MiB", "behind 2 MiB", "the last counts"],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_json_body_declares_a_stream(stand: Stand, pieces: Sequence[bytes], is_chunked: bool) -> None:
    client, upstream = upload(stand, pieces, is_chunked=is_chunked)
    promised(client)
    upstream.send(CHUNKED_STREAM + chunk(ONE) + LAST_CHUNK)
    body = client.read_body()
    assert (body.without_comments, body.is_whole) == (ONE, True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream": false}',
        b'{"stream": "true"}',
        b'{"stream": 1}',
        b'{"options": {"stream": true}}',
        b'[{"stream": true}]',
        b'{"stream": true',
        b'"stream": true',
        b"",
        b'{"stream": true, "padding": "' + b"x" * 2**20 + b'", "stream": false}',
    ],
    ids=["false", "text", "number", "nested", "in a list", "cut", "no object", "empty", "said again behind 1 MiB"],
)
def test_a_body_that_does_not_say_so_waits_for_the_true_status(stand: Stand, body: bytes) -> None:
    client, upstream = upload(stand, [body], is_chunked=False)
    client.expect_silence(0.3)
    upstream.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    answer, text = client.read_answer()
    assert (answer.status, text) == (403, b"no")


FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize("kind", [[FORM], ["Content-Type: text/plain;charset=UTF-8"], []])
def test_a_json_body_declares_a_stream_whatever_its_type_says(stand: Stand, kind: Sequence[str]) -> None:
    client, upstream = upload(stand, [b'{"stream": true}'], is_chunked=False, kind=kind)
    promised(client)
    upstream.send(CHUNKED_STREAM + chunk(ONE) + LAST_CHUNK)
    assert client.read_body().without_comments == ONE


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=x", b'{"stream": true}'),
        ("image/png", b'{"stream": true}'),
        ("application/x-www-form-urlencoded", b"stream=true"),
    ],
)
def test_other_bodies_declare_nothing(stand: Stand, kind: str, body: bytes) -> None:
    client, upstream = upload(stand, [body], is_chunked=False, kind=[f"Content-Type: {kind}"])
    client.expect_silence(0.3)
    upstream.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    assert client.read_answer()[0].status == 403


def upload(
    stand: Stand, pieces: Sequence[bytes], *, is_chunked: bool, kind: Sequence[str] = JSON
) -> tuple[ClientPeer, UpstreamPeer]:
    size = sum(map(len, pieces))
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    client = stand.client()
    client.ask(stand.path("early"), method="POST", headers=[*kind, framing])
    if is_chunked:
        client.send(chunk(pieces[0]))
    upstream = stand.upstream.accept()
    for piece in pieces[1:] if is_chunked else pieces:
        client.send(chunk(piece) if is_chunked else piece)
        if not is_chunked:
            assert upstream.read_exactly(len(piece)) == piece
    if is_chunked:
        client.send(LAST_CHUNK)
        upstream.read_until(LAST_CHUNK)
    return client, upstream


def test_a_request_that_declares_nothing_waits(stand: Stand) -> None:
    client, upstream = stand.ask(stand.path("early"))
    client.expect_silence(0.3)
    upstream.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    assert client.read_head().status == 204


def test_a_route_can_declare_it(stand: Stand) -> None:
    client, upstream = waiting(stand, stand.path("always"), headers=())
    upstream.send(CHUNKED_STREAM + LAST_CHUNK)
    assert client.read_body().is_whole


# What comes then.


@pytest.mark.parametrize("status", [b"200 OK", b"429 Too Many Requests", b"503 Service Unavailable"])
def test_a_fast_answer_keeps_its_status(stand: Stand, status: bytes) -> None:
    path = stand.path("prompt")
    client, upstream = stand.ask(path, headers=ACCEPT)
    upstream.send(b"HTTP/1.1 %b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok" % status)
    answer, body = client.read_answer()
    assert (answer.status, body) == (int(status[:3]), b"ok")
    assert "intended" not in stand.logged(path)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("opening", [b"", BOM])
def test_a_late_stream_is_joined_on(stand: Stand, coding: str, opening: bytes) -> None:
    path = stand.path("early")
    client, upstream = waiting(stand, path)
    data = gzip.compress(opening + ONE) if coding == "gzip" else opening + ONE
    upstream.send(STREAM_HEAD + f"Content-Encoding: {coding}\r\n".encode())
    upstream.send(b"Transfer-Encoding: chunked\r\n\r\n" + chunk(data[:2]) + chunk(data[2:]))
    client.read_until(ONE)
    upstream.send(LAST_CHUNK)
    body = client.read_until(LAST_CHUNK)
    assert BOM not in body
    log = stand.logged(path)
    assert (log["reason"], log["status"], log["events"]) == ("upstream_end", 200, 1)
    assert log["heartbeats"] >= 2


@pytest.mark.parametrize(
    ("head", "body", "told"),
    [
        (
            b"429 Too Many Requests\r\nRetry-After: 7",
            b"slow down",
            {"status": 429, "detail": "slow down", "retry_after": "7"},
        ),
        (b"500 Internal Server Error", b"", {"status": 500}),
        (b"200 OK\r\nContent-Type: text/plain", b"{}", {"status": 200, "detail": "{}"}),
        (b"302 Found\r\nLocation: /elsewhere", b"", {"status": 302}),
        (
            b"401 Unauthorized\r\nContent-Encoding: gzip",
            gzip.compress(b"who?", mtime=0),
            {"status": 401, "detail": "who?"},
        ),
        (b"500 Oh\r\nContent-Type: text/event-stream", b"data: no\n\n", {"status": 500, "detail": "data: no"}),
    ],
)
def test_a_late_answer_that_is_no_stream_is_told(
    stand: Stand, head: bytes, body: bytes, told: Mapping[str, object]
) -> None:
    path = stand.path("early")
    client, upstream = waiting(stand, path)
    upstream.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
    assert told.items() <= error_of(client.read_body()).items()
    log = stand.logged(path)
    assert (log["reason"], log["status"], log.get("intended", 200)) == ("upstream_end", 200, told["status"])


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_late_json_answer_becomes_one_event(stand: Stand, coding: str) -> None:
    path = stand.path("early")
    client, upstream = waiting(stand, path)
    body = b'{\n"a": 1}'
    coded = gzip.compress(body, mtime=0) if coding == "gzip" else body
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: %b\r\n" % coding.encode())
    upstream.send(b"Content-Length: %d\r\n\r\n%b" % (len(coded), coded))
    answer = client.read_body()
    assert (answer.without_comments, answer.is_whole) == (b'data: {\ndata: "a": 1}\n\n', True)
    log = stand.logged(path)
    assert (log["reason"], log["status"], log["events"]) == ("upstream_end", 200, 1)
    assert "intended" not in log


@pytest.mark.parametrize("status", [204, 401, 403, 404, 410])
def test_a_browser_that_would_come_back_for_the_same_answer_is_kept_from_it(stand: Stand, status: int) -> None:
    path = stand.path("early")
    headers = [*ACCEPT, "Cache-Control: no-cache"]
    client, upstream = waiting(stand, path, headers)
    length = b"" if status == 204 else b"Content-Length: 2\r\n"
    upstream.send(b"HTTP/1.1 %d Oh\r\n%b\r\n" % (status, length) + (b"no" if length else b""))
    body = client.read_body()
    assert body.is_whole
    seen = EventStreamParser()
    seen.feed(body.data)
    told = [(event.type, json.loads(event.data)["status"]) for event in seen.events]
    assert told == ([] if status == 204 else [("error", status)])
    again = stand.client()
    again.ask(path, headers=[*headers, f"Last-Event-ID: {seen.last_event_id}"])
    assert again.read_head().status == 204
    assert not stand.upstream.has_visitor


def test_a_part_of_a_document_is_no_event(stand: Stand) -> None:
    client, upstream = waiting(stand, stand.path("early"))
    upstream.send(b"HTTP/1.1 206 Partial Content\r\nContent-Type: application/json\r\nContent-Range: bytes 0-1/9\r\n")
    upstream.send(b"Content-Length: 2\r\n\r\n{}")
    assert error_of(client.read_body())["status"] == 206


def test_a_late_answer_without_a_body_is_told(stand: Stand) -> None:
    client, upstream = waiting(stand, stand.path("early"))
    upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert error_of(client.read_body())["status"] == 204


def test_of_a_large_late_answer_only_the_beginning_is_told(stand: Stand) -> None:
    client, upstream = waiting(stand, stand.path("early"))
    upstream.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 900_000)
    told = error_of(client.read_body())
    assert told["detail"] == told["error"]["message"] == "x" * 32768  # it stands in both, which together have 64 KiB
    upstream.read_to_end()  # it is not kept waiting for somebody to take the rest


def test_a_late_answer_that_breaks_off_is_told_as_far_as_it_came(stand: Stand) -> None:
    client, upstream = waiting(stand, stand.path("early"))
    upstream.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nhalf an ans")
    upstream.reset()
    assert error_of(client.read_body())["detail"] == "half an ans"


def test_the_error_has_the_shape_of_the_dialect(stand: Stand) -> None:
    client, upstream = waiting(stand, stand.path("openai"))
    upstream.send(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nslow")
    body = client.read_body()
    lines = body.without_comments.decode().split("\n")
    assert json.loads(lines[0].removeprefix("data: "))["error"]["message"] == "slow"
    assert not body.is_whole
    assert b"[DONE]" not in body.data


# Nothing comes.


@pytest.mark.parametrize("is_reset", [True, False])
def test_an_upstream_that_breaks_while_a_client_waits(stand: Stand, is_reset: bool) -> None:
    path = stand.path("early")
    client, upstream = waiting(stand, path)
    upstream.reset() if is_reset else upstream.close()
    assert error_of(client.read_body())["status"] == 502
    log = stand.logged(path)
    assert (log["reason"], log["intended"]) == ("upstream_error", 502)


@pytest.mark.parametrize(
    ("route", "status", "reason"),
    [("slow", 504, "response_timeout"), ("silent", 502, "connect_error"), ("limited", 504, "max_duration")],
)
def test_a_wait_that_comes_to_nothing(stand: Stand, route: str, status: int, reason: str) -> None:
    path = stand.path(route)
    client = stand.client()
    client.ask(path, headers=ACCEPT)
    upstream = None if route == "silent" else stand.upstream.accept()
    promised(client)
    told = error_of(client.read_body())
    assert (told["status"], told["type"]) == (status, reason)
    assert stand.reason(path) == reason
    if upstream is not None:
        upstream.read_to_end()


def test_a_refused_connection_is_fast_enough_for_the_true_status(stand: Stand) -> None:
    path = stand.path("refused")
    client = stand.client()
    client.ask(path, headers=ACCEPT)
    assert client.read_answer()[0].status == 502
    assert stand.reason(path) == "connect_error"


@pytest.mark.parametrize(
    ("route", "rest", "status"), [("early", b"zz\r\n", 400), ("small", chunk(b"more than all"), 413)]
)
def test_a_client_that_breaks_its_request_gets_the_true_status(
    stand: Stand, route: str, rest: bytes, status: int
) -> None:
    """The wait begins with the end of the request, so there was nothing promised."""
    path = stand.path(route)
    client = stand.client()
    client.ask(path, method="POST", headers=[*ACCEPT, "Transfer-Encoding: chunked"])
    client.send(chunk(b"begun"))
    upstream = stand.upstream.accept()
    client.expect_silence(0.3)
    client.send(rest)
    answer, body = client.read_answer()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(body)["status"] == status
    assert not upstream.read_to_end()[0].endswith(LAST_CHUNK)
    log = stand.logged(path)
    assert (log["reason"], log["status"]) == ("-", status)  # there was no stream
    assert "intended" not in log


@pytest.mark.parametrize("leave", [ClientPeer.reset, ClientPeer.close])
def test_a_client_that_leaves_while_it_waits(stand: Stand, leave: Any) -> None:
    path = stand.path("early")
    client, upstream = waiting(stand, path)
    leave(client)
    upstream.read_to_end()
    assert stand.reason(path) == "client_gone"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_without_chunks_that_leaves_while_it_waits(tmp_path: Path, loop: str) -> None:
    """Its response would end with a reset, and there is no connection any more. The process ends without a word."""
    with standing(_EARLY.join(("early ", "")), tmp_path, loop=loop) as stand:
        path = stand.path("early")
        client, upstream = stand.ask(path, headers=ACCEPT, version="1.0")
        assert client.read_head().status == 200
        client.close()
        upstream.read_to_end()
        assert stand.reason(path) == "client_gone"
        # The reset comes a second later, while another client waits.
        other, silent = waiting(stand, stand.path("early"))
        for _ in range(100):
            assert other.read_chunk() == b": heartbeat\n"
        silent.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_drain_while_a_client_waits(tmp_path: Path, loop: str) -> None:
    with standing(_EARLY.join(("early ", "")), tmp_path, loop=loop) as stand:
        path = stand.path("early")
        client, upstream = waiting(stand, path)
        stand.proxy.send_signal(signal.SIGTERM)
        assert error_of(client.read_body())["status"] == 503
        upstream.read_to_end()
        assert stand.reason(path) == "drain"
