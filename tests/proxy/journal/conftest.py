"""On which event loop do these tests run? One on which hours pass at once."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.support.fronts import VIRTUAL_LOOPS, PatientAiohttpLoop, PatientUvicornLoop

_WITH_SLOW_READERS = (
    "test_a_client_of_an_answer_that_reads_nothing_is_no_reason_for_silence",
    "test_a_reader_of_a_feed_holds_nobody_back_and_hears_of_what_it_has_missed",
    "test_who_still_reads_a_run_that_is_forgotten_gets_all_of_it",
)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.name.split("[")[0] in _WITH_SLOW_READERS:
        return {**VIRTUAL_LOOPS, "uvicorn": PatientUvicornLoop, "aiohttp": PatientAiohttpLoop}
    return VIRTUAL_LOOPS
