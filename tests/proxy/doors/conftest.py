"""On which event loops do the tests of the doors run, and for how long do they wait for bodies?"""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both that a server process may choose, but where the proxy is in a process of its own."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return factories if "servers" in item.path.name else factories | {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def endless_read_off(short_read_off: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a body is waited for until the client leaves or the server cancels."""
    monkeypatch.setattr("sseproxy.proxy.asgi.response.READ_OFF", 86_400.0)
