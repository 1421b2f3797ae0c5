"""What does sseproxy cost, beside nginx, HAProxy, Caddy, Pushpin and an ordinary aiohttp proxy?

    python -m benchmarks.run                         all of it, into README.md and plots/
    python -m benchmarks.run --only dense sparse     some of it, as a table on standard output
    python -m benchmarks.run --report                README.md and plots/ again from the figures of the last run

Needs a C compiler and nginx; of the others, what is installed. All traffic stays on loopback. The proxies take turns in
each round, and every ratio is taken within a round: the machine may be noisy, the ratio is much less so. What cannot be
measured is noted, and the run goes on; figures are on disk as soon as they are taken.
"""

import argparse
import datetime as dt
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.curves import COMPARED, CURVE_PEERS, CURVES
from benchmarks.machine import commit, machine, versions
from benchmarks.measure import HERE, Failed, compile_load
from benchmarks.peers import ALL, PEERS
from benchmarks.report import table, write
from benchmarks.results import Results, Taken
from benchmarks.scenarios import SCENARIOS, Scenario, Stand

RESULTS = HERE.parent / "build" / "benchmarks.json"


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that whatever was started is ended
    if options.report:
        write(Results.load(options.results), HERE)
        return 0
    if PEERS["nginx"].missing:
        print("nginx is not installed: there is nothing to compare with", file=sys.stderr)
        return 1
    results = measure_all(options)
    if options.only or options.peers:
        print("\n".join(line for one in SCENARIOS for line in table(results, one)))
    else:
        write(results, HERE)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of the table")
    parser.add_argument(
        "--curve-rounds",
        type=int,
        default=2,
        help="of the curves; all but nginx and sseproxy only take part in the first",
    )
    parser.add_argument("--seconds", type=float, default=2.5, help="how long each is measured")
    parser.add_argument("--curve-seconds", type=float, default=1.5, help="likewise, of the curves")
    parser.add_argument("--idle", type=float, default=15.0, help="how long silence is measured; heartbeats need 15")
    names = [*(one.name for one in SCENARIOS), "curves"]
    parser.add_argument("--only", nargs="+", choices=names, help="leave the rest out, and README.md as it is")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), help="likewise")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the raw figures go (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report of --results")
    return parser


def measure_all(options: argparse.Namespace) -> Results:
    results = Results(
        machine=machine(),
        absent={name: ", ".join(peer.missing) for name, peer in PEERS.items() if peer.missing},
        settings={"rounds": options.rounds, "curve_rounds": options.curve_rounds, "seconds": options.seconds},
        date=dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d"),
        commit=commit(),
    )
    there = [name for name in options.peers or PEERS if name not in results.absent]
    results.versions = versions(there)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        stand = Stand(compile_load(Path(folder)), options.seconds, options.idle)
        for index, scenario, peer in _work(options, there):
            _note(results.rounds, index, scenario.name, peer, take(scenario, peer, stand))
            results.save(options.results)
        brisk = replace(stand, seconds=options.curve_seconds, warmup=0.5)
        for index, scenario, peer in _curve_work(options, there):
            _note(results.curves, index, scenario.name, peer, take(scenario, peer, brisk))
            results.save(options.results)
    results.settings["minutes"] = (time.monotonic() - began) / 60
    results.save(options.results)
    return results


def _work(options: argparse.Namespace, there: Sequence[str]) -> Iterator[tuple[int, Scenario, str]]:
    """(round, scenario, peer): in every round another peer begins."""
    for index in range(options.rounds):
        for scenario in SCENARIOS:
            if options.only and scenario.name not in options.only:
                continue
            peers = [name for name in scenario.peers if name.partition(",")[0] in there]
            turn = index % max(len(peers), 1)
            yield from ((index, scenario, peer) for peer in peers[turn:] + peers[:turn])


def _curve_work(options: argparse.Namespace, there: Sequence[str]) -> Iterator[tuple[int, Scenario, str]]:
    if options.only and "curves" not in options.only:
        return
    for index in range(options.curve_rounds):
        peers = [name for name in (COMPARED if index else CURVE_PEERS) if name in there]
        for curve in CURVES:
            for x, streams in curve.points():
                scenario = Scenario(f"{curve.name} {x:g}", curve.title, streams, ())
                yield from ((index, scenario, peer) for peer in peers)


def take(scenario: Scenario, peer: str, stand: Stand) -> dict[str, float] | str:
    """The figures of one peer, once, or why there are none."""
    print(f"{time.strftime('%H:%M:%S')} {scenario.name}: {peer} ", end="", file=sys.stderr, flush=True)
    try:
        figures = scenario.measure(stand, ALL[peer])
    except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"FAILED: {error}", file=sys.stderr, flush=True)
        return f"{error}" or type(error).__name__
    print(", ".join(f"{key} {value:.4g}" for key, value in figures.items()), file=sys.stderr, flush=True)
    return figures


def _note(rounds: list[Taken], index: int, scenario: str, peer: str, taken: dict[str, float] | str) -> None:
    while len(rounds) <= index:
        rounds.append({})
    rounds[index].setdefault(scenario, {})[peer] = taken


if __name__ == "__main__":
    sys.exit(main())
