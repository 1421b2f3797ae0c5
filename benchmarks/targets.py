"""What should sseproxy cost, and does it?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Medians = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Target:
    """reached(ratio, medians): `ratio` is sseproxy's to its base, the median of the rounds; `medians` has the figure
    itself for each peer that could be measured. peer: whose figure it is."""

    what: str
    text: str
    scenario: str
    figure: str
    reached: Callable[[float, Medians], bool]
    peer: str = "sseproxy"


def _at_most(limit: float) -> Callable[[float, Medians], bool]:
    return lambda ratio, _: ratio <= limit


def _at_least(limit: float) -> Callable[[float, Medians], bool]:
    return lambda ratio, _: ratio >= limit


def _below(limit: float) -> Callable[[float, Medians], bool]:
    return lambda _, medians: medians["sseproxy"] < limit


def _below_others(_: float, medians: Medians) -> bool:
    return all(medians["sseproxy"] < medians[peer] for peer in ("caddy", "haproxy") if peer in medians)


TARGETS: tuple[Target, ...] = (
    Target("CPU per event, 200 × 50/s", "at most 1.2 × nginx", "dense", "cpu_us", _at_most(1.2)),
    Target("CPU per event, 200 × 50/s", "below Caddy and HAProxy", "dense", "cpu_us", _below_others),
    Target("CPU per event, 50 × 40/s", "at most 1.3 × nginx", "sparse", "cpu_us", _at_most(1.3)),
    Target("added latency p50 at 10,000 events/s", "at most 1.5 × nginx", "dense", "added_p50_us", _at_most(1.5)),
    Target("added latency p99 at 10,000 events/s", "at most 1.5 × nginx", "dense", "added_p99_us", _at_most(1.5)),
    Target("saturated, events/s", "at least 0.7 × nginx", "saturated", "per_s", _at_least(0.7)),
    Target("memory per idle stream", "at most 1.2 × nginx", "silent", "kib_per_stream", _at_most(1.2)),
    Target("memory per idle stream", "under 20 KiB", "silent", "kib_per_stream", _below(20)),
    Target("5,000 silent streams, CPU", "under 3 % of a core", "silent", "cpu_percent", _below(3)),
    Target("5,000 clients at once", "at most 2 × nginx", "silent", "all_heard_s", _at_most(2)),
    Target("5,000 clients at once", "none refused", "silent", "refused", _below(0.5)),
    Target("1 KiB of JSON, requests/s", "at least 0.3 × nginx", "json", "per_s", _at_least(0.3)),
    Target("a body of 1 GiB, bytes/s", "at least 0.6 × nginx", "body", "per_s", _at_least(0.6)),
    Target("2 workers, events/s", "at least 1.7 × one", "workers", "per_s", _at_least(1.7), "sseproxy, 2 workers"),
    Target(
        "2 workers, requests/s", "at least 1.7 × one", "workers-json", "per_s", _at_least(1.7), "sseproxy, 2 workers"
    ),
)
