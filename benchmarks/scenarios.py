"""What is measured: which work, which figures of it, and against whom?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Failed, Load, Used, client, origin, used
from benchmarks.peers import PEERS, Peer, Running, descriptors

Figures = dict[str, float]

#: Seconds that clients are waited for until all have an event, and for an answer on top of what they measure.
PATIENCE = 20.0
_GRACE = 20.0

_ALL = tuple(PEERS)


@dataclass(frozen=True, slots=True)
class Stand:
    """How thoroughly: `load` is the compiled generator, the rest seconds.

    seconds: what is measured of a work. idle: the same of silence; heartbeats need 15. warmup: what is let pass
    before. body: bytes of a large body.
    """

    load: Path
    seconds: float
    idle: float
    warmup: float = 0.7
    body: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Figure:
    """key: see results.values. factor: from what is measured to what is shown. compared: has its ratio a meaning?"""

    key: str
    label: str
    factor: float = 1.0
    compared: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """measure(stand, peer): the figures of one peer, once. Each peer is compared to `base`; "": to itself without
    what its name says behind the comma."""

    name: str
    title: str
    measure: Callable[[Stand, Peer], Figures]
    figures: tuple[Figure, ...]
    peers: tuple[str, ...] = _ALL
    base: str = "nginx"

    def base_of(self, peer: str) -> str:
        return self.base or peer.partition(",")[0]


# Streams.


@dataclass(frozen=True, slots=True)
class Streams:
    """`count` streams of `rate` events/s each ("max": as fast as they are taken; 0: one event each) of `size` bytes."""

    count: int
    rate: float | str
    size: int = 128

    def __call__(self, stand: Stand, peer: Peer) -> Figures:
        opening = (self.count, stand.seconds, stand.warmup, PATIENCE)
        with (
            origin(stand.load, self.rate, self.size) as (port, origin_pid),
            peer.run(port) as proxy,
            client(stand.load, "streams", proxy.port, *opening) as clients,
        ):
            opened = clients.line(PATIENCE + _GRACE)
            _expect_most(opened, self.count)
            return self._watch(stand, proxy, clients, origin_pid) | {"not_opened": self.count - opened["heard"]}

    def _watch(self, stand: Stand, proxy: Running, clients: Load, origin_pid: int) -> Figures:
        clients.line(_GRACE)
        before, origin_before = used(proxy.pids), used((origin_pid,))
        result = clients.line(stand.seconds + _GRACE)
        spent, origin_spent = used(proxy.pids).since(before), used((origin_pid,)).since(origin_before)
        expect_whole(result)
        if not result["events"]:
            raise Failed("no event came through")
        figures = _costs(spent, result["events"], result["seconds"])
        figures["p50_us"], figures["p99_us"] = result["p50"], result["p99"]
        figures["mb_per_s"] = result["bytes"] / result["seconds"] / 1e6
        figures["load_cpu"] = (result["cpu"] + origin_spent.total) / result["seconds"] * 100
        if not isinstance(self.rate, str):
            figures["kept_up"] = result["events"] / (self.count * self.rate * result["seconds"])
        return figures


def _expect_most(opened: Mapping[str, float], count: int) -> None:
    """What an event costs does not depend on a few streams that were refused; they are said, too."""
    if opened["heard"] < count * 0.95:
        raise Failed(f"{opened['heard']:.0f} of {count} streams had an event, {opened['refused']:.0f} were refused")


def expect_whole(result: Mapping[str, float]) -> None:
    """Failed: something arrived that was not sent, or an end that the scenario does not have."""
    if result["broken"] or result.get("ended"):
        raise Failed(f"{result['broken']:.0f} events or bodies broken, {result.get('ended', 0):.0f} connections lost")


def _costs(spent: Used, work: float, seconds: float) -> Figures:
    """CPU µs for each piece of work, work a second, work a second of the proxy's CPU, and who of the family worked."""
    busiest = max(spent.cpu.values(), default=0.0)
    return {
        "cpu_us": spent.total / work * 1e6,
        "per_s": work / seconds,
        "per_cpu_s": work / spent.total if spent.total else 0.0,
        "cpu_percent": spent.total / seconds * 100,
        "busiest": busiest / spent.total if spent.total else 0.0,
    }


# Streams that say nothing.


@dataclass(frozen=True, slots=True)
class Silent:
    """`count` clients connect at once, have one event, and then nothing but heartbeats."""

    count: int

    def __call__(self, stand: Stand, peer: Peer) -> Figures:
        count = min(self.count, (descriptors() - 1000) // 2)
        # Only sseproxy has something to do meanwhile.
        window = stand.idle if "sseproxy" in peer.label else min(stand.idle, 2.0)
        with origin(stand.load, 0) as (port, _), peer.run(port) as proxy:
            at_rest = used(proxy.pids)
            with client(stand.load, "streams", proxy.port, count, window, 1.5, PATIENCE) as clients:
                opened = clients.line(PATIENCE + _GRACE)
                clients.line(_GRACE)
                before = used(proxy.pids)
                result = clients.line(window + _GRACE)
                after = used(proxy.pids)
        expect_whole(result)
        if not opened["heard"]:
            raise Failed("no stream was opened")
        return {
            "all_heard_s": opened["all_heard"],
            "refused": opened["refused"],
            "unheard": count - opened["heard"] - opened["refused"],
            "kib_per_stream": after.since(at_rest).memory / opened["heard"] / 1024,
            "open_cpu_us": before.since(at_rest).total / opened["heard"] * 1e6,
            "cpu_percent": after.since(before).total / result["seconds"] * 100,
            "heartbeats_per_s": result["heartbeats"] / result["seconds"],
            "streams": opened["heard"],
        }


@dataclass(frozen=True, slots=True)
class Newcomers:
    """`count` clients that come while `busy` streams take all that the proxy can give; waited for 10 s."""

    busy: int
    count: int

    def __call__(self, stand: Stand, peer: Peer) -> Figures:
        with (
            origin(stand.load, "max") as (port, _),
            peer.run(port) as proxy,
            client(stand.load, "streams", proxy.port, self.busy, 2 * PATIENCE, 0.8, PATIENCE) as busy,
        ):
            _expect_most(busy.line(PATIENCE + _GRACE), self.busy)
            busy.line(_GRACE)
            with client(stand.load, "streams", proxy.port, self.count, 0.1, 0, 10) as clients:
                opened = clients.line(10 + _GRACE)
        unheard = self.count - opened["heard"]
        return {"all_heard_s": opened["all_heard"], "unheard": unheard}


# Plain responses.


def requests(stand: Stand, peer: Peer) -> Figures:
    """1 KiB of JSON over 64 connections that stay open."""
    with (
        origin(stand.load, 1) as (port, origin_pid),
        peer.run(port) as proxy,
        client(stand.load, "requests", proxy.port, 64, stand.seconds, stand.warmup) as clients,
    ):
        clients.line(_GRACE)
        before, origin_before = used(proxy.pids), used((origin_pid,))
        result = clients.line(stand.seconds + _GRACE)
        spent, origin_spent = used(proxy.pids).since(before), used((origin_pid,)).since(origin_before)
    expect_whole(result)
    if not result["requests"]:
        raise Failed("no request was answered")
    figures = _costs(spent, result["requests"], result["seconds"])
    figures["p50_us"], figures["p99_us"] = result["p50"], result["p99"]
    figures["load_cpu"] = (result["cpu"] + origin_spent.total) / result["seconds"] * 100
    return figures


def body(stand: Stand, peer: Peer) -> Figures:
    """One large body, 10 s of it at most."""
    with (
        origin(stand.load, 1) as (port, origin_pid),
        peer.run(port) as proxy,
        client(stand.load, "body", proxy.port, stand.body, 10) as reader,
    ):
        before, origin_before = used(proxy.pids), used((origin_pid,))
        reader.go()
        result = reader.line(10 + _GRACE)
        spent, origin_spent = used(proxy.pids).since(before), used((origin_pid,)).since(origin_before)
    expect_whole(result)
    if not result["bytes"]:
        raise Failed("no byte came through")
    figures = _costs(spent, result["bytes"], result["seconds"])
    figures["load_cpu"] = (result["cpu"] + origin_spent.total) / result["seconds"] * 100
    return figures


# The table.

_CPU = "CPU per event, µs"
_LATENCY = (Figure("p50_us", "latency p50, µs"), Figure("p99_us", "latency p99, µs"))
_ADDED = (Figure("added_p50_us", "added to direct p50, µs"), Figure("added_p99_us", "added to direct p99, µs"))
_WORKERS = ("sseproxy", "sseproxy, 2 workers", "nginx", "nginx, 2 workers")
_FEATURES = ("sseproxy", "sseproxy, access log", "sseproxy, admin", "sseproxy, no heartbeat")

DENSE = Scenario(
    "dense",
    "200 streams × 50 events/s × 128 B",
    Streams(200, 50),
    (
        Figure("cpu_us", _CPU),
        *_LATENCY,
        *_ADDED,
        Figure("kept_up", "of 10,000 events/s, %", factor=100, compared=False),
    ),
)

SCENARIOS: tuple[Scenario, ...] = (
    DENSE,
    Scenario(
        "sparse",
        "50 streams × 40 events/s × 128 B",
        Streams(50, 40),
        (Figure("cpu_us", _CPU), *_LATENCY),
    ),
    Scenario(
        "saturated",
        "50 streams, 128 B, as fast as the proxy takes them",
        Streams(50, "max"),
        (
            Figure("per_s", "thousand events/s", 1e-3),
            Figure("per_cpu_s", "thousand events per CPU second", factor=1e-3),
            Figure("cpu_percent", "CPU of the proxy, % of a core", compared=False),
            Figure("load_cpu", "CPU of origin and clients, % of a core", compared=False),
        ),
    ),
    Scenario(
        "newcomers",
        "8 more clients, while 50 streams take all that the proxy can give",
        Newcomers(50, 8),
        (
            Figure("all_heard_s", "all have their first event after, s"),
            Figure("unheard", "without an event after 10 s", compared=False),
        ),
    ),
    Scenario(
        "silent",
        "5,000 clients that connect at once, then silence",
        Silent(5000),
        (
            Figure("all_heard_s", "all have their first event after, s"),
            Figure("refused", "refused", compared=False),
            Figure("unheard", "without an event after 20 s", compared=False),
            Figure("open_cpu_us", "CPU per stream opened, µs"),
            Figure("kib_per_stream", "memory per idle stream, KiB"),
            Figure("cpu_percent", "CPU while silent, % of a core", compared=False),
            Figure("heartbeats_per_s", "heartbeats/s meanwhile", compared=False),
        ),
    ),
    Scenario(
        "json",
        "1 KiB of JSON over 64 connections that stay open",
        requests,
        (
            Figure("per_s", "thousand requests/s", 1e-3),
            Figure("per_cpu_s", "thousand requests per CPU second", factor=1e-3),
            *_LATENCY,
            Figure("load_cpu", "CPU of origin and clients, % of a core", compared=False),
        ),
    ),
    Scenario(
        "body",
        "a body of 1 GiB",
        body,
        (
            Figure("per_s", "MB/s", 1e-6),
            Figure("per_cpu_s", "MB per CPU second", factor=1e-6),
            Figure("load_cpu", "CPU of origin and client, % of a core", compared=False),
        ),
    ),
    Scenario(
        "workers",
        "2 workers against 1: 50 streams, as fast as they are taken",
        Streams(50, "max"),
        (
            Figure("per_s", "thousand events/s", 1e-3),
            Figure("cpu_us", _CPU),
            Figure("busiest", "share of the busier worker, %", factor=100, compared=False),
            Figure("load_cpu", "CPU of origin and clients, % of a core", compared=False),
        ),
        _WORKERS,
        base="",
    ),
    Scenario(
        "workers-json",
        "2 workers against 1: 1 KiB of JSON",
        requests,
        (
            Figure("per_s", "thousand requests/s", 1e-3),
            Figure("cpu_us", "CPU per request, µs"),
            Figure("busiest", "share of the busier worker, %", factor=100, compared=False),
            Figure("load_cpu", "CPU of origin and clients, % of a core", compared=False),
        ),
        _WORKERS,
        base="",
    ),
    Scenario(
        "features",
        "one thing more or less on the path: 200 streams × 50 events/s × 128 B",
        Streams(200, 50),
        (Figure("cpu_us", _CPU), Figure("p50_us", "latency p50, µs")),
        _FEATURES,
        base="",
    ),
    Scenario(
        "features-json",
        "one thing more or less on the path: 1 KiB of JSON",
        requests,
        (Figure("cpu_us", "CPU per request, µs"), Figure("per_s", "thousand requests/s", factor=1e-3)),
        ("sseproxy", "sseproxy, access log", "sseproxy, admin"),
        base="",
    ),
)
