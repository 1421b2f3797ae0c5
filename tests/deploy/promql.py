"""Which metrics does a PromQL expression ask for, by which labels, and for which of their values?

It reads what the files of deploy/ use of the language, and no more. promtool says whether an expression is well-formed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sseproxy.metrics.table import METRICS, Kind

#: What Prometheus adds to every sample.
TARGET_LABELS = frozenset({"job", "instance"})

_SELECTOR = re.compile(r"\b(sseproxy_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric, as it is called on the page of metrics, and the values that are wanted of its labels."""

    name: str
    matchers: tuple[tuple[str, str], ...]

    def values(self) -> Iterator[tuple[str, str]]:
        """Each label with each value that is named for it; variables of a dashboard name none."""
        for label, pattern in self.matchers:
            if not pattern.startswith("$"):
                yield from ((label, value) for value in pattern.split("|"))


def selectors(expression: str) -> list[Selector]:
    """Return what the expression asks for."""
    return [
        Selector(name, tuple((label, value) for label, _, value in _MATCHER.findall(inside)))
        for name, inside in _SELECTOR.findall(expression)
    ]


def grouped(expression: str) -> set[str]:
    """Return the labels by which the expression groups or joins."""
    return {name.strip() for names in _GROUPING.findall(expression) for name in names.split(",") if name.strip()}


def series() -> dict[str, frozenset[str]]:
    """Return the names of all series that sseproxy has, each with its labels, and `up`."""
    known = {"up": TARGET_LABELS}
    for metric in METRICS:
        labels = TARGET_LABELS | set(metric.labels)
        known[metric.name] = labels
        if metric.kind is Kind.HISTOGRAM:
            del known[metric.name]
            known |= {f"{metric.name}_{part}": labels for part in ("count", "sum")}
            known[f"{metric.name}_bucket"] = labels | {"le"}
    return known
