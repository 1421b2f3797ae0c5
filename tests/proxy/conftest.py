"""On which event loops do the tests of the proxy run?"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from sseproxy.origins import http
from sseproxy.origins.pools import AiohttpPool, PlainPool


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both that `sseproxy.server` may choose; and on one of them the pool of connections that needs no aiohttp."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop, "plain": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[AiohttpPool | PlainPool]:
    """The pool that this test's proxy has."""
    found = PlainPool if "plain" in request.node.name.partition("[")[2].rstrip("]").split("-") else AiohttpPool
    monkeypatch.setattr(http, "pool_for", found)
    return found
