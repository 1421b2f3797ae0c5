"""Has an event become grossly dearer? Exit code 1 if its CPU is more than twice nginx's.

    python -m benchmarks.short

The median of five rounds in which both take turns, and a second attempt before it is believed: a machine that is busy
with other things disturbs even ratios. Run it alone.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Failed, compile_load
from benchmarks.peers import PEERS
from benchmarks.scenarios import DENSE, Stand

LIMIT = 2.0
ROUNDS = 5
ATTEMPTS = 2


def main() -> int:
    try:
        return 0 if _any_attempt_passes() else 1
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"bench-short: {error}", file=sys.stderr)
        return 1


def _any_attempt_passes() -> bool:
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        stand = Stand(compile_load(Path(folder)), seconds=1.0, idle=0.0, warmup=0.5)
        return any(_attempt(stand) for _ in range(ATTEMPTS))


def _attempt(stand: Stand) -> bool:
    found = [_round(stand) for _ in range(ROUNDS)]
    middle = statistics.median(found)
    print(
        f"bench-short: {DENSE.title}: CPU per event is {middle:.2f} × nginx's "
        f"({min(found):.2f}–{max(found):.2f}, limit {LIMIT:g})",
        flush=True,
    )
    return middle <= LIMIT


def _round(stand: Stand) -> float:
    ours, theirs = (DENSE.measure(stand, PEERS[name])["cpu_us"] for name in ("sseproxy", "nginx"))
    if not theirs:
        raise Failed("this kernel does not say how much CPU a process has used")
    return ours / theirs


if __name__ == "__main__":
    sys.exit(main())
