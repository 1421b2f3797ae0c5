"""How long do `sseproxy --version` and `sseproxy serve` take to start, beside uvicorn?

    python -m benchmarks.startup [--rounds 15]

A start of `serve` ends when the first connection is accepted. The four take turns, so that a machine that slows down
slows all of them, and ratios are taken within a round. Ends with 1 if the median ratio of one is above 2.
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sseproxy.demo.ports import listener, port_of

#: How many times uvicorn's start is allowed.
MOST = 2.0

_APP = """\
async def app(scope, receive, send):
    pass
"""
_ROOT = Path(__file__).parents[1]
_LIMIT = 30.0
_PAUSE = 0.001

_NOWHERE = subprocess.DEVNULL
_UVICORN = [sys.executable, "-m", "uvicorn"]
_SSEPROXY = [sys.executable, "-m", "sseproxy"]


@dataclass(frozen=True)
class Pair:
    """One start of each, in seconds. ours, uvicorn: measure one start."""

    name: str
    ours: Callable[[], float]
    uvicorn: Callable[[], float]


def environment(folder: Path) -> Mapping[str, str]:
    """Return that of both programs: as where they are installed, all modules have been compiled. folder: keeps them."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**found, "PYTHONPYCACHEPREFIX": str(folder / "compiled"), "PYTHONPATH": str(_ROOT)}


def version(command: Sequence[str], folder: Path) -> float:
    """Return the seconds until `command` has said its version and ended."""
    begin = time.perf_counter()
    run = [*command, "--version"]
    subprocess.run(run, check=True, stdout=_NOWHERE, timeout=_LIMIT, env=environment(folder))
    return time.perf_counter() - begin


def serving(command: Sequence[str], port: int, folder: Path) -> float:
    """Return the seconds until `command` accepts a connection on `port`; it is ended then."""
    begin = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=_NOWHERE, stderr=_NOWHERE) as process:
        try:
            while not _accepts(port):
                if process.poll() is not None or time.perf_counter() - begin > _LIMIT:
                    raise RuntimeError(f"did not start: {' '.join(command)}")
                time.sleep(_PAUSE)
            return time.perf_counter() - begin
        finally:
            process.terminate()


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_port() -> int:
    """Return a port of the loopback that nothing listens on."""
    with listener() as sock:
        return port_of(sock)


def pairs(folder: Path) -> list[Pair]:
    """Return what is measured. folder: where an app is put for uvicorn."""
    (folder / "empty_app.py").write_text(_APP)

    def ours() -> float:
        port = free_port()
        listen = ["--listen", f"127.0.0.1:{port}", "--upstream", "http://127.0.0.1:1"]
        return serving([*_SSEPROXY, "serve", *listen], port, folder)

    def uvicorn() -> float:
        port = free_port()
        return serving([*_UVICORN, "empty_app:app", "--host", "127.0.0.1", "--port", str(port)], port, folder)

    return [
        Pair("--version", lambda: version(_SSEPROXY, folder), lambda: version(_UVICORN, folder)),
        Pair("serve", ours, uvicorn),
    ]


def measure(rounds: int) -> Mapping[str, tuple[list[float], list[float]]]:
    """Return the seconds of each start by name: ours, and uvicorn's.

    One round more is run first: it compiles the modules, and is not counted.
    """
    with tempfile.TemporaryDirectory(prefix="sseproxy-startup-") as folder:
        measured = pairs(Path(folder))
        times: dict[str, tuple[list[float], list[float]]] = {pair.name: ([], []) for pair in measured}
        for number in range(rounds + 1):
            for pair in measured:
                ours, theirs = pair.ours(), pair.uvicorn()
                if number:
                    times[pair.name][0].append(ours)
                    times[pair.name][1].append(theirs)
    return times


def report(times: Mapping[str, tuple[list[float], list[float]]]) -> int:
    """Print the medians; return 1 if one of ours takes too long, else 0."""
    too_long = False
    print("| start | sseproxy | uvicorn | times |\n|---|---|---|---|")
    for name, (ours, theirs) in times.items():
        mine, other = statistics.median(ours), statistics.median(theirs)
        # Within a round: a machine that slows down slows both.
        ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
        too_long = too_long or ratio > MOST
        print(f"| `{name}` | {mine * 1000:.0f} ms | {other * 1000:.0f} ms | {ratio:.2f} |")
    return int(too_long)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    return report(measure(parser.parse_args(arguments).rounds))


if __name__ == "__main__":
    sys.exit(main())
