"""Is aiohttp inside still what its pool of connections is used with, and is there another one where it is not?

Each thing that `sseproxy.origins.pools` leans on is named here, so that an aiohttp that has changed fails in this file,
with the name of what has gone, and not in production.
"""

import asyncio
import inspect
import re
from typing import Any

import pytest
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import BaseConnector, Connection, TCPConnector
from yarl import URL

from sseproxy.core.routes import Upstream
from sseproxy.http1.client import UpstreamConnection
from sseproxy.origins.pools import AiohttpPool, PlainPool, pool_for
from tests.support.proxy_server import stage
from tests.support.raw_upstream import replies

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


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
        origin = on.proxy.origins["default"]
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
