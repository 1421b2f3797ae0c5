"""On which event loop do these tests run? One on which hours pass at once."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.support.fronts import VIRTUAL_LOOPS, PatientAiohttpLoop, PatientUvicornLoop

#: Behind another server more than one buffer has to be filled, and a full one opens in the time of the kernel.
_WITH_SLOW_READERS = {"test_slow_readers.py", "test_who_still_reads_a_run_that_is_forgotten_gets_all_of_it"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if not _WITH_SLOW_READERS.isdisjoint((item.path.name, item.name.split("[")[0])):
        return {**VIRTUAL_LOOPS, "uvicorn": PatientUvicornLoop, "aiohttp": PatientAiohttpLoop}
    return VIRTUAL_LOOPS
