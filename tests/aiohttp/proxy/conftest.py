"""On which event loops do these tests run, and what may they not leave in the log?"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both that an app may run on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def no_surprises(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """No error is logged, but where a test is marked with `logs_errors`."""
    yield
    if "logs_errors" not in request.fixturenames:
        errors = [each.getMessage() for each in caplog.get_records("call") if each.levelno >= logging.ERROR]
        assert not errors


@pytest.fixture
def logs_errors(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """For a test that causes errors: what was logged of them."""
    told = logging.Formatter().format
    return lambda: "\n".join(told(each) for each in caplog.records if each.levelno >= logging.ERROR)
