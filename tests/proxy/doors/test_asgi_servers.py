"""What reaches an upstream, and what a client, through the proxy as an app of real ASGI servers?"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from h2.connection import H2Connection
from h2.events import DataReceived

from tests.support.asgi_proxy import UPSTREAM
from tests.support.asgi_servers import AsgiServer
from tests.support.async_peer import AsyncPeer
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies, replies_once
from tests.support.settled import settled

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LAST = b"0\r\n\r\n"
LARGE = bytes(range(256)) * 20_000

#: Server, app, and the path at which the proxy is mounted in it.
PLACES = [
    *((server, "bare", "") for server in ("uvicorn-h11", "uvicorn-httptools", "hypercorn", "granian")),
    *((server, "behind", "/mount") for server in ("uvicorn-httptools", "hypercorn", "granian")),
    ("uvicorn-h11", "mounted", "/mount"),
]


@dataclass(frozen=True, slots=True)
class Place:
    """The proxy in a running server. path: where it is mounted. socket: where its upstream has to listen.

    keeps_heads_back: it sends a head with the first byte of its body, but for event streams.
    """

    server: AsgiServer
    path: str
    socket: Path
    keeps_heads_back: bool

    @contextlib.asynccontextmanager
    async def use(self, script: Script) -> AsyncIterator[tuple[AsyncPeer, RawUpstream]]:
        """Serve an upstream, and connect a client."""
        self.socket.unlink(missing_ok=True)
        async with RawUpstream.serve(script, socket_path=self.socket) as upstream:
            port = int(self.server.url.rpartition(":")[2])
            async with AsyncPeer.connect(port) as client:
                yield client, upstream

    def ask(self, target: str = "/a", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
        """Return the head of a request."""
        lines = [f"{method} {self.path}{target} HTTP/{version}", "Host: a.test", *fields, "", ""]
        return "\r\n".join(lines).encode("latin-1")


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: "-".join(place[:2]))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    name, app, path = request.param
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(UPSTREAM, str(folder / "upstream"))
        server = AsgiServer(name, f"tests.proxy.doors.apps:{app}", folder / "record")
    server.wait_until_ready()
    try:
        keeps_heads_back = (name, app) == ("granian", "behind")
        yield Place(server, path, folder / "upstream", keeps_heads_back)
    finally:
        server.stop()


def says(data: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(data)
        await visit.wait_closed()

    return script


async def test_target_and_fields_reach_the_upstream_as_they_are(place: Place) -> None:
    async with place.use(replies(OK)) as (client, upstream):
        await client.ask(place.ask("/a%2Fb;c//%FF%zz?x=%20+", "X-B: caf\xe9", "X-A: 1", "X-B: 2"))
    (request,) = upstream.requests
    assert request.target.decode() == place.path + "/a%2Fb;c//%FF%zz?x=%20+"
    assert (request.all(b"X-B"), request.all(b"X-A")) == ([b"caf\xe9", b"2"], [b"1"])
    assert (request.one(b"Host"), request.one(b"X-Forwarded-For")) == (b"a.test", b"127.0.0.1")


async def test_fields_reach_the_client_as_they_are(place: Place) -> None:
    head = b"HTTP/1.1 203 Odd\r\nSet-Cookie: a\r\nX-Obs: caf\xe9\r\nSet-Cookie: b\r\n"
    date = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    async with place.use(replies(head + date + b"Content-Length: 5\r\n\r\nhello")) as (client, _):
        response = await client.ask(place.ask())
    assert response.one(b"Date") is not None, "the server writes it, whatever the upstream says"
    assert (response.status, response.body) == (203, b"hello")
    assert (response.all(b"Set-Cookie"), response.one(b"X-Obs")) == ([b"a", b"b"], b"caf\xe9")


async def test_a_request_body_goes_on_as_it_is_framed(place: Place) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE)
    async with place.use(replies(OK)) as (client, upstream):
        for fields, body in (
            (["Content-Length: 3"], b"abc"),
            (["Content-Length: 0"], b""),
            ([f"Content-Length: {len(LARGE)}"], LARGE),
            (["Transfer-Encoding: chunked"], chunks),
            ([], b""),
        ):
            assert (await client.ask(place.ask("/a", *fields, method="POST") + body)).status == 200
    seen = [(each.all(b"Content-Length"), each.all(b"Transfer-Encoding"), len(each.body)) for each in upstream.requests]
    size = len(LARGE)
    assert seen == [([b"3"], [], 3), ([b"0"], [], 0), ([b"%d" % size], [], size), ([], [b"chunked"], size), ([], [], 0)]
    assert upstream.requests[2].body == upstream.requests[3].body == LARGE


async def test_a_client_that_expects_100_is_asked_for_its_body(place: Place) -> None:
    async with place.use(replies(OK)) as (client, upstream):
        head = place.ask("/a", "Content-Length: 3", "Expect: 100-continue", method="POST")
        assert (await client.ask(head)).status == 100
        assert (await client.ask(b"abc")).status == 200
    assert upstream.requests[0].body == b"abc"


EARLY = [
    (b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", b"no"),
    (b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", b"no"),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", b""),
]


@pytest.mark.parametrize(("answer", "body"), EARLY, ids=["with a length", "in chunks", "without a body"])
async def test_an_answer_reaches_a_client_that_first_sends_all_of_its_body(
    place: Place, answer: bytes, body: bytes
) -> None:
    for fields, sent in (
        ([f"Content-Length: {len(LARGE)}"], LARGE),
        (["Transfer-Encoding: chunked"], b"%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE)),
    ):
        async with place.use(says(answer)) as (client, _):
            response = await client.ask(place.ask("/a", *fields, method="POST") + sent)
            assert (response.status, response.body) == (int(answer.split()[1]), body)


async def test_the_head_does_not_wait_for_the_body(place: Place) -> None:
    """granian keeps it back, but for event streams, and the middleware drops the empty piece that would free it."""
    for begin in [STREAM] if place.keeps_heads_back else [STREAM, JSON]:
        async with place.use(says(begin)) as (client, _):
            await client.send(place.ask())
            assert (await client.head()).status == 200


async def test_events_come_one_by_one(place: Place) -> None:
    go_on = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(STREAM)
        for step in (EVENT, EVENT, LAST):
            await go_on.wait()
            go_on.clear()
            await visit.send(step)

    async with place.use(script) as (client, _):
        await client.send(place.ask())
        await client.head()
        for expected in (b"data: 1\n\n", b"data: 1\n\n", b""):
            go_on.set()
            assert await client.chunk() == expected


async def test_a_large_body_is_whole(place: Place) -> None:
    pieces = [LARGE[start : start + 100_003] for start in range(0, len(LARGE), 100_003)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + LAST
    with_length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE
    async with place.use(replies(JSON + chunked, with_length)) as (client, _):
        await client.send(place.ask())
        await client.head()
        digest = hashlib.sha256()
        while piece := await _chunk(client):
            digest.update(piece)
        assert digest.digest() == hashlib.sha256(LARGE).digest()
        assert (await client.ask(place.ask())).body == LARGE


async def test_what_has_no_body_leaves_the_connection_usable(place: Place) -> None:
    responses = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\n",
        b'HTTP/1.1 304 No\r\nContent-Length: 7\r\nETag: "a"\r\n\r\n',
        OK,
    ]
    async with place.use(replies(*responses)) as (client, _):
        head = await client.ask(place.ask(method="HEAD"), to_head=True)
        assert (head.status, head.one(b"Content-Length")) == (200, b"7")
        assert (await client.ask(place.ask())).status == 204
        assert (await client.ask(place.ask())).status == 304
        assert (await client.ask(place.ask())).body == b"ok"


async def test_a_client_of_http_10_is_served(place: Place) -> None:
    async with place.use(replies(OK)) as (client, _):
        await client.send(place.ask(version="1.0"))
        assert (await client.rest()).endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("begin", [b"", STREAM + EVENT], ids=["before the response", "in a silent stream"])
async def test_a_client_that_leaves_closes_the_upstream(place: Place, begin: bytes) -> None:
    async with place.use(says(begin)) as (client, upstream):
        await client.send(place.ask())
        visit = await upstream.visit()
        await visit.wait_received(b"\r\n\r\n")
        if begin:
            await client.head()
            await client.chunk()
        await client.close()
        await visit.wait_closed()


async def test_a_client_that_leaves_in_its_body_closes_the_upstream(place: Place) -> None:
    async with place.use(says(b"")) as (client, upstream):
        await client.send(place.ask("/a", "Content-Length: 9", method="POST") + b"abc")
        visit = await upstream.visit()
        await visit.wait_received(b"abc")
        await client.close()
        await visit.wait_closed()


async def test_a_broken_end_is_one_for_the_client(place: Place) -> None:
    """Also behind a middleware that completes the response of an app that fails."""
    async with place.use(replies_once(STREAM + EVENT)) as (client, _):
        await client.send(place.ask())
        await client.head()
        rest = await client.rest()
    assert b"event: error" in rest
    assert not rest.endswith(LAST)


async def test_a_client_that_reads_slowly_holds_the_upstream_back(place: Place) -> None:
    sent = 0
    event = b"8000\r\n" + b"data: " + b"x" * 32_760 + b"\n\n\r\n"

    async def flood(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(STREAM)
        for _ in range(2000):
            await visit.send(event)
            sent += 1
        await visit.send(LAST)

    async with place.use(flood) as (client, _):
        client.shrink_receive_buffer(65_536)
        client.pause()
        await client.send(place.ask())
        assert await settled(lambda: sent) < 1500
        client.resume()
        await client.head()
        size = 0
        while piece := await _chunk(client):
            size += len(piece)
        assert size == 2000 * 32_768


async def test_nothing_was_logged_as_wrong_but_the_broken_end(place: Place) -> None:
    """Behind all others of this module with this server."""
    lines = place.server.output.lines
    errors = [line for line in lines if "Exception" in line or "ERROR" in line]
    assert [line for line in errors if "ResponseAborted" not in line and not _speaks_of_the_app(line)] == []
    assert not any("No response returned" in line or "never retrieved" in line for line in lines)


def _speaks_of_the_app(line: str) -> bool:
    """Return whether it is how a server says that an app has raised; the traceback follows."""
    return any(words in line for words in ("Exception in ASGI", "Error in ASGI", "callable raised", "ExceptionGroup"))


async def _chunk(client: AsyncPeer) -> bytes:
    """Return the next chunk; granian writes sizes in capital letters."""
    line = await client.reader.readuntil(b"\r\n")
    size = int(line, 16)
    data = await client.reader.readexactly(size)
    await client.reader.readexactly(2)
    return data


class TestHTTP2:
    """By a client that ends one stream and keeps its connection."""

    @pytest.fixture(params=["hypercorn", "granian"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(UPSTREAM, str(tmp_path / "upstream"))
            server = AsgiServer(request.param, "tests.proxy.doors.apps:bare", tmp_path / "record")
        server.wait_until_ready()
        try:
            yield Place(server, "", tmp_path / "upstream", keeps_heads_back=False)
        finally:
            server.stop()

    async def test_a_body_without_a_length_goes_on_in_chunks(self, place: Place) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"abc"
            yield b"def"

        async with place.use(replies(OK)) as (_, upstream), _speaking_http_2(place) as client:
            response = await client.post("/a%2Fb?x=%20+", content=pieces())
            assert (response.http_version, response.status_code, response.text) == ("HTTP/2", 200, "ok")
            assert (await client.get("/a")).status_code == 200
            assert (await client.post("/a", content=b"abc")).status_code == 200
        first, second, third = upstream.requests
        assert (first.target, first.body, first.one(b"Transfer-Encoding")) == (b"/a%2Fb?x=%20+", b"abcdef", b"chunked")
        assert second.all(b"Transfer-Encoding") == second.all(b"Content-Length") == []
        assert (third.body, third.one(b"Content-Length")) == (b"abc", b"3")
        assert first.one(b"Host") == place.server.url.removeprefix("http://").encode()

    @pytest.mark.parametrize("begin", [b"", STREAM + EVENT], ids=["before the response", "in a silent stream"])
    async def test_a_client_that_ends_its_stream_closes_the_upstream(self, place: Place, begin: bytes) -> None:
        async with place.use(says(begin)) as (client, upstream):
            http2 = H2Connection()
            http2.initiate_connection()
            fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/a")]
            http2.send_headers(1, fields, end_stream=True)
            await client.send(http2.data_to_send())
            visit = await upstream.visit()
            await visit.wait_received(b"\r\n\r\n")
            has_come = not begin
            while not has_come:
                events = http2.receive_data(await client.reader.read(65_536))
                await client.send(http2.data_to_send())
                has_come = any(isinstance(event, DataReceived) for event in events)
            http2.reset_stream(1)
            await client.send(http2.data_to_send())
            await visit.wait_closed()
        assert place.server.wrongs() == []

    async def test_a_stream_comes_to_its_end(self, place: Place) -> None:
        async with place.use(replies(STREAM + EVENT + LAST)) as (_, __), _speaking_http_2(place) as client:
            response = await client.get("/a")
            assert response.text == "data: 1\n\n"


def _speaking_http_2(place: Place) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=place.server.url, http1=False, http2=True, trust_env=False)
