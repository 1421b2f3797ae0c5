"""Servers with the proxy in them are started once for all tests of a module."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One loop is enough: the servers run on their own."""
    return {"asyncio": asyncio.new_event_loop}
