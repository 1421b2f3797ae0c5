"""Each door is on its own side of the network, so one event loop is as good as another."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def few_words() -> Iterator[None]:
    """A thousand broken responses are a thousand lines of the servers' logs."""
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "sseproxy", "aiohttp.server")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    yield
    for each, level in zip(loggers, before, strict=True):
        each.setLevel(level)
