"""How does a test read the metrics and the live list of a running process, as Prometheus and an operator do?"""

import json
import time
from collections.abc import Callable
from threading import Event
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.blocking_client import Request, fetch

LIMIT = 40.0

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(page: str) -> dict[Sample, float]:
    """Return all samples of a page of metrics."""
    families = text_string_to_metric_families(page)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def scrape(admin: str) -> dict[Sample, float]:
    """Return all samples of the page of metrics at `admin`."""
    page = fetch(admin, "/metrics")
    assert page.status == 200, page.body
    return samples(page.body.decode())


def value(admin: str, name: str, **labels: str) -> float:
    """Return the sum of all samples with this name and, among others, these labels."""
    return sum(
        number
        for (sample, said), number in scrape(admin).items()
        if sample == name and labels.items() <= dict(said).items()
    )


def streams(admin: str) -> list[dict[str, Any]]:
    """Return the rows of the live list. AssertionError: a worker is missing."""
    page = json.loads(fetch(admin, "/streams").body)
    assert page["missing_workers"] == []
    rows: list[dict[str, Any]] = page["streams"]
    return rows


def end_stream(admin: str, name: str, **fields: str) -> int:
    """Return the status of the wish to end a stream."""
    headers = fields or {"X-Requested-With": "test"}
    with Request(admin, f"/streams/{name}", method="DELETE", headers=headers) as request:
        request.read()
        return request.status


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds. AssertionError: not within `LIMIT` seconds."""
    until, pause = time.monotonic() + LIMIT, Event()
    while not condition():
        assert time.monotonic() < until, f"not within {LIMIT} s: {what}"
        pause.wait(0.02)
