"""On which event loop do these tests run? One on which hours pass at once."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.support.fronts import VIRTUAL_LOOPS


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return VIRTUAL_LOOPS
