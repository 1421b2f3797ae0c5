"""What does a span say of a request, and how often does the exporter complain?"""

import asyncio
import logging
from dataclasses import replace

import pytest

from sseproxy.core.stream.transfer import CloseReason
from sseproxy.engine.observer import AccessRecord
from sseproxy.engine.tracing import attributes_of, fault_of
from sseproxy.process.telemetry import SparseComplaints, Telemetry
from tests.support.otlp_collector import Collector


def record(host: str | None = None) -> AccessRecord:
    return AccessRecord("10.0.0.7", "GET", "/a", 0.0, host=host)


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("a.test", "a.test", None),
        ("a.test:8080", "a.test", 8080),
        ("[::1]", "::1", None),
        ("[::1]:8080", "::1", 8080),
        ("a.test:", "a.test:", None),
        ("a.test:123456", "a.test:123456", None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_host_that_was_asked_for(host: str | None, address: str | None, port: int | None) -> None:
    found = attributes_of(record(host))
    assert (found.get("server.address"), found.get("server.port")) == (address, port)


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"status": 200, "reason": CloseReason.UPSTREAM_END}, None),
        ({"status": 404, "reason": CloseReason.UPSTREAM_END}, None),
        ({"status": 200, "intended": 429, "reason": CloseReason.UPSTREAM_END}, None),
        ({"status": 503, "intended": 503, "reason": CloseReason.UPSTREAM_END}, "503"),
        ({"status": 200, "intended": 502, "reason": CloseReason.CONNECT_ERROR}, "connect_error"),
        ({"status": 200, "reason": CloseReason.IDLE_TIMEOUT}, "idle_timeout"),
        ({"status": 200, "reason": CloseReason.KILLED}, "killed"),
        ({"status": 200, "reason": CloseReason.DRAIN}, None),
        ({"status": 200, "reason": CloseReason.CLIENT_GONE}, None),
        ({"status": None, "reason": CloseReason.CLIENT_GONE}, None),
    ],
)
def test_what_is_a_fault(more: dict[str, object], fault: str | None) -> None:
    assert fault_of(replace(record(), **more)) == fault  # type: ignore[arg-type]


def complaint(at: float, text: str, error: Exception | None = None) -> logging.LogRecord:
    said = logging.LogRecord("opentelemetry.x", logging.ERROR, "", 0, text, ("collector",), None)
    said.created = at
    said.exc_info = None if error is None else (type(error), error, None)
    return said


def test_the_exporter_says_each_thing_once_a_minute() -> None:
    sparse = SparseComplaints()
    assert [sparse.filter(complaint(at, "%s is away")) for at in (0.0, 1.0, 59.9, 60.0, 61.0, 120.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert sparse.filter(complaint(61.0, "%s says no"))


def test_what_it_says_is_one_line() -> None:
    said = complaint(0.0, "%s is 100%% away", ValueError("50% of it"))
    assert SparseComplaints().filter(said)
    assert said.exc_info is None
    assert said.getMessage() == "collector is 100% away ValueError('50% of it')"


async def test_the_end_waits_for_the_last_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        collector.gate.clear()
        telemetry, asked = Telemetry(), record()
        telemetry.tracing.asked(asked, [])
        telemetry.tracing.answered(asked)
        stopping = asyncio.create_task(telemetry.stop(limit=60))
        await asyncio.to_thread(collector.asked.wait, 60)
        assert not stopping.done()
        collector.gate.set()
        await stopping
        assert len(collector.spans) == 1
