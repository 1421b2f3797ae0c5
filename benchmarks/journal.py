"""What does a journal cost, beside the same streams without one, and beside Nchan?

    python -m benchmarks.journal [--rounds N] [--seconds S] [--parts answers feeds ...]
    python -m benchmarks.journal --check

What is compared takes turns in each round, and each ratio is taken within a round. Writes benchmarks/journal.md from
journal.template when all parts were measured. With --check: exit code 1 if an event of an answer that is kept costs
more than twice what it costs without a journal, in both of two attempts.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.journal_loads import Figures, Stand, answers, feeds, frozen, idle, storm
from benchmarks.journal_memory import weighed
from benchmarks.machine import machine
from benchmarks.measure import HERE, Failed, compile_load
from benchmarks.push import compared

#: Of `--check`: generous, for machines that do other things.
_LIMIT: Final = 2.0
_ATTEMPTS: Final = 2
_CHECK_ROUNDS: Final = 5

_ROWS: Final = (
    ("cpu", "CPU per event that a client gets, µs", "{:.1f}"),
    ("p50", "p50, ms", "{:.1f}"),
    ("p99", "p99, ms", "{:.1f}"),
)

Round = Mapping[str, Figures]


def rounds(measure: Callable[[Stand, int], Round], stand: Stand, count: int) -> list[Round]:
    """Measure in `count` rounds, each in another order."""
    found = []
    for number in range(count):
        found.append(measure(stand, number))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def table(found: Sequence[Round], first: str, *others: str) -> str:
    """Return the medians; beside each figure its ratios to `first`, and in further columns to each of `others`."""
    names = [first, *(name for name in found[0] if name != first)]
    lines = [f"| | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    for key, title, form in _ROWS:
        cells = []
        for name in names:
            figure = form.format(statistics.median(one[name][key] for one in found))
            cells.append(figure if name == first else f"{figure}<br>{ratio(found, name, first, key)}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    for other in others:
        if other in names:
            cells = ["" if name in (first, other) else ratio(found, name, other, "cpu") for name in names]
            lines.append(f"| CPU, to {other} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(found: Sequence[Round], name: str, to: str, key: str) -> str:
    """Write the median of a figure's ratios, and their range."""
    return compared([one[name][key] / one[to][key] for one in found if one[to][key] > 0])


# The parts.


def _answers(stand: Stand, count: int) -> str:
    return table(rounds(answers, stand, count), "/relay")


def _feeds(stand: Stand, count: int) -> str:
    return table(rounds(feeds, stand, count), "/relay", "Nchan")


def _frozen(stand: Stand, count: int) -> str:
    return table(rounds(frozen, stand, count), "alone")


def _storm(stand: Stand, count: int) -> str:
    found = [storm(stand) for _ in range(min(count, 3))]
    rows = (
        ("seconds", "until all have caught up, s"),
        ("cpu", "CPU of sseproxy meanwhile, s"),
        ("p99", "p99 of the live ones meanwhile, ms"),
        ("at_rest", "p99 of the live ones without a storm, ms"),
    )
    lines = ["| | median | range |", "|---|--:|--:|"]
    for key, title in rows:
        each = [one[key] for one in found]
        lines.append(f"| {title} | {statistics.median(each):.1f} | {min(each):.1f}–{max(each):.1f} |")
    return "\n".join(lines)


def _memory(stand: Stand, _: int) -> str:
    relay, reader, kept = idle(stand, "/relay"), idle(stand, "/storm"), asyncio.run(weighed())
    return "\n".join(
        [
            "| | |",
            "|---|--:|",
            f"| a stream without a journal that is idle, KiB | {relay / 1024:.1f} |",
            f"| a reader of a feed that is idle, KiB | {reader / 1024:.1f} |",
            f"| a kept answer of 1,000 tokens of 205 bytes, to its text | × {kept['kept']:.2f} |",
            f"| an answer that has no event yet, KiB | {kept['answer'] / 1024:.1f} |",
            f"| a feed that has no event yet, KiB | {kept['feed'] / 1024:.1f} |",
        ]
    )


PARTS: Final[Mapping[str, Callable[[Stand, int], str]]] = {
    "answers": _answers,
    "feeds": _feeds,
    "frozen": _frozen,
    "storm": _storm,
    "memory": _memory,
}


def check(stand: Stand) -> bool:
    """Return whether one attempt of two is within the limit."""
    for _ in range(_ATTEMPTS):
        found = [answers(stand, number) for number in range(_CHECK_ROUNDS)]
        each = [one["/answer"]["cpu"] / one["/relay"]["cpu"] for one in found]
        print(f"bench-journal: CPU per event of a kept answer is {compared(each)} of a relayed one, limit {_LIMIT:g}")
        if statistics.median(each) <= _LIMIT:
            return True
    return False


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    arguments.add_argument("--check", action="store_true")
    options = arguments.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
            load = compile_load(Path(folder))
            if options.check:
                return 0 if check(Stand(load, 1.0)) else 1
            tables = {}
            for name in options.parts:
                tables[name] = PARTS[name](Stand(load, options.seconds), options.rounds)
                print(f"{name}\n\n{tables[name]}\n", flush=True)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"bench-journal: {error}", file=sys.stderr)
        return 1
    if len(tables) == len(PARTS):
        write(tables, options.rounds, options.seconds)
    return 0


def write(tables: Mapping[str, str], count: int, seconds: float) -> None:
    """Write journal.md."""
    about = machine()
    text = (HERE / "journal.template").read_text()
    box = f"{about['processor']}, {about['cores']} cores, {about['kernel']}"
    (HERE / "journal.md").write_text(text.format(machine=box, rounds=count, seconds=f"{seconds:g}", **tables))


if __name__ == "__main__":
    sys.exit(main())
