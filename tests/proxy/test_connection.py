"""Is aiohttp inside still what `sseproxy.proxy` and `sseproxy.origins` lean on?

The proxy uses aiohttp's server connections and its pool, and a few of their internals. Each is named here, so that
an aiohttp that has changed fails in this file, with the name of what has gone, and not in production.
"""

import asyncio
import inspect
import re
from typing import Any

import aiohttp
import pytest
from aiohttp import http_parser, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import BaseConnector, Connection, TCPConnector
from aiohttp.http_exceptions import BadHttpMessage, InvalidURLError, LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from yarl import URL

from sseproxy.core.errors import BadRequest, HeadersTooLarge, InternalError
from sseproxy.core.routes import Upstream
from sseproxy.origins.connection import UpstreamConnection
from sseproxy.origins.pools import AiohttpPool, PlainPool, pool_for
from sseproxy.proxy.connection import DownstreamConnection, _as_ours
from tests.support.proxy_server import stage
from tests.support.raw_upstream import replies
from tests.support.settled import eventually

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_requests_are_read_by_the_parser_in_c() -> None:
    """The one in Python reads other things than this suite has shown."""
    assert http_parser.HttpRequestParser is http_parser.HttpRequestParserC


@pytest.mark.parametrize(
    "option",
    [
        "access_log",
        "auto_decompress",
        "keepalive_timeout",
        "lingering_time",
        "loop",
        "max_field_size",
        "max_headers",
        "max_line_size",
    ],
)
def test_options_of_a_server_connection(option: str) -> None:
    assert option in parameters(RequestHandler.__init__)


def test_what_a_server_connection_calls_on_us() -> None:
    """We override these; the base class must go on calling them, with these arguments."""
    for name in (
        "connection_made",
        "connection_lost",
        "data_received",
        "pause_writing",
        "resume_writing",
        "handle_error",
    ):
        assert callable(getattr(RequestHandler, name)), name
    assert list(inspect.signature(RequestHandler.handle_error).parameters) == [
        "self",
        "request",
        "status",
        "exc",
        "message",
    ]
    source = inspect.getsource(RequestHandler)
    for text in ("self.handle_error(", "resp.keep_alive", "resp.prepare", "resp.write_eof()", "payload.is_eof()"):
        assert text in source, text


@pytest.mark.parametrize(
    "name",
    [
        "_drain_helper",
        "_pause_transport_reading",
        "_resume_reading_for_buffer",
        "_resume_transport_reading",
        "close",
        "force_close",
        "peername",
        "start",
    ],
)
def test_methods_of_a_server_connection(name: str) -> None:
    assert hasattr(RequestHandler, name)


async def test_state_of_a_server_connection() -> None:
    async with stage(replies()) as on:
        await on.client.ask(GET)
        [connection] = on.proxy.app._connections()
        assert isinstance(connection, DownstreamConnection)
        assert list(connection._messages) == []
        assert connection._message_tail == b""
        assert connection._buffer_paused is False
        assert connection._current_request is None
        assert connection._keepalive_handle is not None  # the wait for the next request
        connection.stop_idle_timer()
        assert connection._keepalive_handle is None
        assert connection.transport is not None
        assert connection._manager is not None
        assert connection._manager.handler_cancellation is True


def test_pausing_has_one_place() -> None:
    """`DownstreamConnection` watches for hang-ups wherever aiohttp stops to read."""
    for name in ("_pause_transport_reading", "_resume_transport_reading"):
        assert name in BaseProtocol.__dict__, name
    source = inspect.getsource(inspect.getmodule(BaseProtocol)) + inspect.getsource(inspect.getmodule(RequestHandler))  # type: ignore[arg-type]
    assert source.count("self.transport.pause_reading()") == 1
    assert source.count("self.transport.resume_reading()") == 1


async def test_what_a_request_tells() -> None:
    """`read_request` takes the parsed message as it is, below aiohttp's decoded views of it."""
    seen: list[Any] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request._message, request.content, request.protocol))
        return web.Response()

    loop = asyncio.get_running_loop()
    server = web.Server(handle)
    listener = await loop.create_server(server, "127.0.0.1", 0)
    try:
        _, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"POST /%2F?x HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: bool(seen))
        writer.close()
        await writer.wait_closed()
    finally:
        listener.close()
        await server.shutdown(1.0)
    message, content, protocol = seen[0]
    assert message.method == "POST"
    assert message.path == "/%2F?x"
    assert message.version == aiohttp.HttpVersion11
    assert message.raw_headers == ((b"Host", b"a"),)
    assert message.chunked is False
    assert message.upgrade is False
    assert message.should_close is False
    assert content.is_eof()
    assert isinstance(protocol, RequestHandler)
    assert server._loop is loop
    assert hasattr(server, "connections")


async def test_what_the_reader_of_a_body_offers() -> None:
    """An exception set from outside wakes a reader, wins over what was fed, and stays although the end is fed too."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    reader = aiohttp.StreamReader(protocol, 1024, loop=loop)
    waiting = asyncio.ensure_future(reader.readany())
    await asyncio.sleep(0)
    reader.set_exception(BadRequest("x"))
    reader.feed_eof()
    with pytest.raises(BadRequest):
        await waiting
    with pytest.raises(BadRequest):
        await reader.readany()
    assert reader.is_eof()


@pytest.mark.parametrize(
    ("status", "exc", "kind"),
    [
        (400, LineTooLong(b"x", 8), HeadersTooLarge),
        (400, BadHttpMessage("Too many headers received"), HeadersTooLarge),
        (400, BadHttpMessage("something"), BadRequest),
        (400, InvalidURLError("/secret"), BadRequest),
        (500, RuntimeError("x"), InternalError),
        (504, TimeoutError(), InternalError),
    ],
)
def test_aiohttps_errors_become_ours(status: int, exc: Exception, kind: type[Exception]) -> None:
    error = _as_ours(status, exc)
    assert type(error) is kind
    assert "secret" not in str(error)
    assert error.detail.endswith(".")


def test_an_error_info_is_what_marks_a_broken_request() -> None:
    assert _ErrInfo(status=400, exc=ValueError(), message="x").status == 400


# The pool.


def test_the_pool_makes_and_lends_connections() -> None:
    assert list(inspect.signature(BaseConnector.connect).parameters) == ["self", "req", "traces", "timeout"]
    assert "self._factory = functools.partial(ResponseHandler" in inspect.getsource(BaseConnector.__init__)
    for name in ("protocol", "release", "close"):
        assert hasattr(Connection, name), name
    assert {"method", "url", "loop", "ssl", "server_hostname"} <= parameters(ClientRequest.__init__)


@pytest.mark.parametrize("name", ["should_close", "closed", "is_connected", "close", "abort"])
def test_what_the_pool_asks_of_its_protocols(name: str) -> None:
    """`UpstreamConnection` takes the place of aiohttp's `ResponseHandler`."""
    assert hasattr(UpstreamConnection, name)


def test_the_pool_asks_nothing_else_of_its_protocols() -> None:
    source = inspect.getsource(inspect.getmodule(BaseConnector))  # type: ignore[arg-type]
    asked = set(re.findall(r"\b(?:proto|protocol|conn\.protocol|self\._protocol)\.([a-z_]+)", source))
    asked |= set(re.findall(r"\bproto\.([a-z_]+)", source))
    for_http_proxies = {"set_response_params"}
    assert asked - for_http_proxies <= set(dir(UpstreamConnection)) | {"transport"}, asked


async def test_keys_of_the_pool() -> None:
    """Requests of one upstream share one key, so that they share its connections."""
    loop = asyncio.get_running_loop()
    keys = [
        ClientRequest("GET", URL("http://a.test:81"), loop=loop, ssl=True, server_hostname=None).connection_key
        for _ in range(2)
    ]
    assert keys[0] == keys[1]
    assert keys[0].host == "a.test"
    assert keys[0].port == 81


async def test_our_connection_is_what_the_pool_lends_and_keeps(pool: type[AiohttpPool | PlainPool]) -> None:
    async with stage(replies()) as on:
        origin = on.proxy.app._origins["default"]
        assert type(origin.pool) is pool
        protocols: list[UpstreamConnection] = []
        for _ in range(3):
            assert (await on.client.ask(GET)).status == 200
            assert origin.pool.leased == 0
            lease = await origin.pool.connect()
            protocols.append(lease.protocol)
            lease.release()
        assert len(set(map(id, protocols))) == 1
        assert type(protocols[0]) is UpstreamConnection
        assert protocols[0].responses == 3


async def test_an_aiohttp_that_is_not_known_is_not_used_for_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where its connector does not let us say what speaks on its connections, our own small pool takes over."""

    class Changed(TCPConnector):
        __slots__ = ()

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            del self._factory

    upstream = Upstream("http", "a.test", 9)
    assert type(pool_for(upstream)) is AiohttpPool
    monkeypatch.setattr("aiohttp.TCPConnector", Changed)
    assert type(pool_for(upstream)) is PlainPool
    assert "its pool is not used" in caplog.text


@pytest.mark.parametrize(
    "upstream",
    [Upstream("http", "127.0.0.1", 9), Upstream("http", "::1", 9), Upstream("http+unix", socket_path="/nowhere")],
    ids=["IPv4", "IPv6", "unix"],
)
async def test_where_there_is_no_name_to_look_up_aiohttp_is_not_needed(upstream: Upstream) -> None:
    assert type(pool_for(upstream)) is PlainPool


async def test_the_wait_for_the_next_request_begins_anew_after_a_stream() -> None:
    """Where a stream has stopped aiohttp's timer, aiohttp starts another one."""
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n"
    async with stage(replies(stream)) as on:
        await on.client.ask(GET)
        [connection] = on.proxy.app._connections()
        await eventually(lambda: connection._keepalive_handle is not None)
