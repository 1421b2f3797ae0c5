"""How does a test read the metrics and the live list of a running process, as Prometheus and an operator do?"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.blocking_client import Request, fetch
from tests.support.patience import LIMIT
from tests.support.sseproxy_process import SseproxyProcess

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


class Seen:
    """What all scrapes of a test run have shown: the values of each label of each metric, and which were ever 0."""

    def __init__(self) -> None:
        self._moved: set[Sample] = set()
        self._at_rest: set[Sample] = set()

    def note(self, page: dict[Sample, float]) -> None:
        """Add one scrape."""
        for sample, number in page.items():
            (self._moved if number else self._at_rest).add(sample)

    @property
    def names(self) -> set[str]:
        """The samples that were ever more than 0."""
        return {name for name, _ in self._moved}

    def values(self, name: str, label: str, *, at_rest: bool = False) -> set[str]:
        """The values of a label with which a metric was ever more than 0, or, `at_rest`, ever 0."""
        found = self._at_rest if at_rest else self._moved
        return {dict(labels)[label] for sample, labels in found if sample == name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A proxy whose figures are looked at. seen: what all looks have shown."""

    proxy: SseproxyProcess
    seen: Seen = field(default_factory=Seen)

    @property
    def admin(self) -> str:
        return self.proxy.urls[-1]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of all samples of ``sseproxy_NAME`` that have these labels, now."""
        page = scrape(self.admin)
        self.seen.note(page)
        return total(page, f"sseproxy_{name}", **labels)

    def wait_for(self, wanted: float, name: str, **labels: str) -> None:
        """Wait until that is `wanted`."""
        wait_until(lambda: self.value(name, **labels) == wanted, f"{name} {labels} is {wanted}")


def value(admin: str, name: str, **labels: str) -> float:
    """Return the sum of all samples with this name and, among others, these labels."""
    return total(scrape(admin), name, **labels)


def total(page: dict[Sample, float], name: str, **labels: str) -> float:
    """Return the sum of all samples of `page` with this name and, among others, these labels."""
    return sum(
        number for (sample, said), number in page.items() if sample == name and labels.items() <= dict(said).items()
    )


def streams(admin: str) -> list[dict[str, Any]]:
    """Return the rows of the live list, once no worker is missing. AssertionError: one is after `LIMIT` seconds."""
    rows: list[dict[str, Any]] = []

    def is_whole() -> bool:
        page = json.loads(fetch(admin, "/streams").body)
        rows[:] = page["streams"]
        return not page["missing_workers"]

    wait_until(is_whole, "a live list in which no worker is missing")
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
