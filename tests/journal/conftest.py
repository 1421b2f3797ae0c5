"""On which event loop do the tests of the journal run?"""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.support.virtual_clock import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One whose time passes at once."""
    return {"virtual": VirtualLoop}
