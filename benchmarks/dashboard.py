"""What does an open dashboard cost while 2,000 streams are live?

    python -m benchmarks.dashboard [--streams 2000] [--rounds 3] [--seconds 3] [--filter]

One sseproxy has the streams of one load; its CPU is read in turns without a dashboard and with one, so that a machine
that is busy with other things disturbs both. Ends with 1 if the dashboard costs more than 5 % of a core: the median
over the rounds.
"""

import argparse
import contextlib
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import HERE, Failed, client, compile_load, cpu_seconds, free_port, origin, running, wait_for

#: Share of a core that it may cost.
MOST = 0.05

#: Events a second of each stream.
_RATE = 0.2

#: Seconds until all streams have opened, and until a dashboard that was opened or closed shows in the figures.
_OPENING, _SETTLING = 60.0, 0.7

#: What a dashboard asks for whose user has typed a filter; each stream is then compared with the words.
_FILTER = "?filter=127.0.0.1+open"


@dataclass(frozen=True)
class Round:
    """CPU as a share of a core, and what came of the dashboard. snapshots, size: how many, and bytes of each."""

    without: float
    with_it: float
    snapshots: int
    size: float

    @property
    def cost(self) -> float:
        return self.with_it - self.without


class Reader:
    """A dashboard without a screen: it reads all that comes."""

    def __init__(self, port: int, target: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.request("GET", target)
        self._response = self._connection.getresponse()
        if self._response.status != 200:
            raise Failed(f"the dashboard answers {self._response.status}")
        self.snapshots = self.size = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while line := self._response.readline():
                self.snapshots += line.startswith(b"data:")
                self.size += len(line)

    def close(self) -> None:
        """End it, as a browser does that leaves."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        self._thread.join()
        self._response.close()
        self._connection.close()


@contextlib.contextmanager
def sseproxy(upstream: int) -> Iterator[tuple[int, int, int]]:
    """Yields the pid, and the ports of streams and of the admin listener."""
    port, admin = free_port(), free_port()
    command = [sys.executable, "-m", "sseproxy", "serve", "--upstream", f"http://127.0.0.1:{upstream}"]
    command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--no-access-log"]
    with tempfile.TemporaryFile() as log, running(command, cwd=HERE.parent, stderr=log) as process:
        wait_for(port, process)
        yield process.pid, port, admin


def share(pid: int, seconds: float) -> float:
    """Return the CPU that a process uses from now on, as a share of a core."""
    begun, before = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - begun)


def measure(load: Path, *, streams: int, rounds: int, seconds: float, target: str) -> list[Round]:
    """Return the figures of each round. Raises `Failed`."""
    whole = rounds * 2 * (seconds + _SETTLING) + 5
    with (
        origin(load, _RATE) as (upstream, _),
        sseproxy(upstream) as (pid, port, admin),
        client(load, "streams", port, streams, whole, 1, _OPENING) as clients,
    ):
        opened = clients.line(_OPENING + 10)
        if opened["heard"] < streams:
            raise Failed(f"{opened['heard']:g} of {streams} streams were opened")
        found = []
        for _ in range(rounds):
            time.sleep(_SETTLING)
            without = share(pid, seconds)
            reader = Reader(admin, target)
            try:
                time.sleep(_SETTLING)
                begun = reader.snapshots, reader.size
                with_it = share(pid, seconds)
                made, size = reader.snapshots - begun[0], reader.size - begun[1]
            finally:
                reader.close()
            found.append(Round(without, with_it, made, size / max(made, 1)))
    return found


def report(found: list[Round], streams: int) -> int:
    """Print the figures, and return the exit code."""
    for each in found:
        print(
            f"without {each.without:6.1%}   with {each.with_it:6.1%}   cost {each.cost:6.2%} of a core   "
            f"{each.snapshots} snapshots of {each.size / 1000:.1f} kB"
        )
    cost = statistics.median(each.cost for each in found)
    print(f"bench-dashboard: {streams:,} streams: a dashboard costs {cost:.2%} of a core (limit {MOST:.0%})")
    return 0 if cost < MOST else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--filter", action="store_true", help="a dashboard whose user has typed a filter")
    said = parser.parse_args()
    target = "/events" + (_FILTER if said.filter else "")
    try:
        with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
            load = compile_load(Path(folder))
            found = measure(load, streams=said.streams, rounds=said.rounds, seconds=said.seconds, target=target)
    except (Failed, OSError) as error:
        print(f"bench-dashboard: {error}", file=sys.stderr)
        return 1
    return report(found, said.streams)


if __name__ == "__main__":
    sys.exit(main())
