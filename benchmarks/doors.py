"""What does an event cost inside an app, beside the standalone server?

    python -m benchmarks.doors [--rounds N] [--seconds S] [--doors uvicorn aiohttp ...]

All take turns in each round, and each ratio is taken within a round. Writes benchmarks/doors.md from doors.template
when all doors were measured.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.door_apps import UPSTREAM
from benchmarks.machine import machine
from benchmarks.measure import HERE, Failed, compile_load, free_port, running
from benchmarks.peers import PEERS, Peer, Running
from benchmarks.push import compared
from benchmarks.scenarios import DENSE, Stand

_APP: Final = "benchmarks.door_apps:proxy"
_PYTHON: Final = (sys.executable, "-m")

#: How each server is started. PORT stands for its port.
_COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "uvicorn": ("uvicorn", "--port", "PORT", "--no-access-log", "--no-server-header", "--no-date-header", _APP),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT", _APP),
    "hypercorn": ("hypercorn", "--bind", "127.0.0.1:PORT", _APP),
    "aiohttp": ("benchmarks.door_apps", "PORT"),
}

_STANDALONE: Final = "standalone"

_ROWS: Final = (
    ("cpu_us", "CPU per event, µs", "{:.1f}"),
    ("p50_us", "p50, µs", "{:.0f}"),
    ("p99_us", "p99, µs", "{:.0f}"),
)

Round = Mapping[str, Mapping[str, float]]


@contextlib.contextmanager
def _start(folder: Path, origin: int, options: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    command = [word.replace("PORT", str(port)) for word in (*_PYTHON, *_COMMANDS[options["door"]])]
    environment = {**os.environ, UPSTREAM: f"http://127.0.0.1:{origin}", "PYTHONPATH": str(HERE.parent)}
    with (folder / "log").open("w") as log, running(command, env=environment, stdout=log, stderr=log) as process:
        yield Running(port, [process.pid])


DOORS: Final[Mapping[str, Peer]] = {
    _STANDALONE: PEERS["sseproxy"],
    **{name: Peer(name, _start, options={"door": name}) for name in _COMMANDS},
}


def one_round(stand: Stand, doors: Sequence[str], number: int) -> Round:
    """Measure each once, in another order than before."""
    turn = number % len(doors)
    found = {name: DENSE.measure(stand, DOORS[name]) for name in (*doors[turn:], *doors[:turn])}
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def table(found: Sequence[Round], doors: Sequence[str]) -> str:
    """Return the medians; beside each figure its ratios to the standalone server's."""
    lines = [f"| | {' | '.join(doors)} |", "|---|" + "--:|" * len(doors)]
    for key, title, form in _ROWS:
        cells = []
        for name in doors:
            figure = form.format(statistics.median(one[name][key] for one in found))
            ratios = [one[name][key] / one[_STANDALONE][key] for one in found if one[_STANDALONE][key] > 0]
            cells.append(figure if name == _STANDALONE or not ratios else f"{figure}<br>{compared(ratios)}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--doors", nargs="*", choices=list(_COMMANDS), default=list(_COMMANDS))
    options = arguments.parse_args()
    doors = [_STANDALONE, *options.doors]
    try:
        with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
            stand = Stand(compile_load(Path(folder)), seconds=options.seconds, idle=0.0)
            found = [one_round(stand, doors, number) for number in range(options.rounds)]
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"bench-doors: {error}", file=sys.stderr)
        return 1
    written = table(found, doors)
    print(written)
    if len(doors) == len(DOORS):
        about = machine()
        box = f"{about['processor']}, {about['cores']} cores, {about['kernel']}"
        text = (HERE / "doors.template").read_text()
        seconds = f"{options.seconds:g}"
        (HERE / "doors.md").write_text(text.format(machine=box, rounds=options.rounds, seconds=seconds, table=written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
