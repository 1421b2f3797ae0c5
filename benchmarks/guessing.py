"""Does the time that a 404 takes tell anything about a ticket that cannot be had?

    python -m benchmarks.guessing [--rounds N] [--tickets N]

A sseproxy of its own keeps requests under tickets that are bound to a cookie. Each round asks once for every kind of
ticket that cannot be had, in an order of its own, over one connection that is kept. Compared is with the unknown ticket
of the same round, so that whatever else the machine does disturbs both. Exit code 1 if any can be told apart.
"""

import argparse
import contextlib
import gc
import json
import math
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import HERE, Failed, free_port, running, wait_for
from sseproxy.core.eventsource.ticket_ids import ID_BYTES, ticket_id

ROUNDS = 20_000
TICKETS = 500  # a client may have 1,250

#: Standard errors that chance alone exceeds once in two thousand comparisons.
LIMIT = 3.5

#: Microseconds that are added to times of unknown tickets, to show how small a difference would be seen.
ADDED = 1.0

_WARM_UP = 200  # rounds
_TTL = 0.1  # seconds, of those that expire

#: Nothing is ever sent to the upstream.
_FILE = """
server: {listen: "127.0.0.1:PORT"}
routes:
  - match: {path: /brief}
    upstream: http://127.0.0.1:9
    tickets: {ttl: TTL, bind: "cookie:token"}
  - match: {path: /long}
    upstream: http://127.0.0.1:9
    tickets: {ttl: 1h, bind: "cookie:token"}
"""

_KEEPER, _OTHER, _NOBODY = b"Cookie: token=keeper\r\n", b"Cookie: token=others\r\n", b""

_UNKNOWN, _NAMELESS = "unknown", "unknown, without a cookie"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of ticket that cannot be had. ids: which ones. cookie: of whoever asks. base: what it is to look like."""

    name: str
    ids: str
    cookie: bytes = _KEEPER
    base: str | None = _UNKNOWN


KINDS = (
    Kind(_UNKNOWN, "made up", base=None),
    Kind("unknown, once more", "made up"),
    Kind("right but for the last two characters", "nearly right"),
    Kind("expired", "expired"),
    Kind("another client's", "waiting", _OTHER),
    Kind(_NAMELESS, "made up", _NOBODY, None),
    Kind("another client's, without a cookie", "waiting", _NOBODY, _NAMELESS),
)

Times = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one kind differs from its base. Times in µs.

    auc: how probable it is that an answer of this kind takes longer than one of its base. longer: the share of rounds
    in which it did. errors: standard errors between that share and a half.
    """

    name: str
    median: float
    quartiles: tuple[float, float]
    ratio: float
    auc: float
    longer: float
    errors: float

    @property
    def differs(self) -> bool:
        return abs(self.errors) > LIMIT


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="requests of each kind")
    parser.add_argument("--tickets", type=int, default=TICKETS, help="how many different ones there are of each kind")
    options = parser.parse_args(arguments)
    try:
        times = measure(options.rounds, options.tickets)
    except (Failed, OSError) as error:
        print(f"bench-guessing: {error}", file=sys.stderr)
        return 2
    return report(times)


# Asking.


def measure(rounds: int, tickets: int) -> Times:
    """For each kind, how long its answer took in each round, in µs. Failed: the answers themselves are not alike."""
    with _sseproxy() as port, socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asking = Asking(sock)
        requests = _requests(asking, tickets)
        _ask_for_all(asking, requests, min(rounds, _WARM_UP))
        return _ask_for_all(asking, requests, rounds)


@contextlib.contextmanager
def _sseproxy() -> Iterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        file = Path(folder) / "sseproxy.yaml"
        file.write_text(_FILE.replace("PORT", str(port)).replace("TTL", f"{_TTL}s"))
        command = [sys.executable, "-m", "sseproxy", "serve", "-c", str(file)]
        quiet, surroundings = subprocess.DEVNULL, {**os.environ, "PYTHONPATH": str(HERE.parent)}
        with running(command, stdout=quiet, stderr=quiet, env=surroundings) as process:
            wait_for(port, process)
            yield port


#: What differs from one answer to the next, whatever was asked for. Ids grow, and with them the length of the body.
_PER_REQUEST = re.compile(rb'\r\n(?:Date|X-Request-Id|Content-Length): [^\r]*|, "request_id": "[^"]*"')


class Asking:
    """One connection that is kept."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._refusal = b""

    def keep(self, target: str) -> str:
        """The id of a new ticket, of the keeper's."""
        answer = self._exchange(b"POST /_tickets%b HTTP/1.1\r\nHost: bench\r\n%b\r\n" % (target.encode(), _KEEPER))
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 201 "):
            raise Failed(f"no ticket is to be had: {head.decode()}")
        return str(json.loads(body)["ticket"])

    def time_of_refusal(self, request: bytes) -> float:
        """How long it takes until the whole of a 404 is there, in µs. Failed: it is another one than those before."""
        began = time.perf_counter_ns()
        answer = self._exchange(request)
        took = time.perf_counter_ns() - began
        refusal = _PER_REQUEST.sub(b"", answer)
        self._refusal = self._refusal or refusal
        if refusal != self._refusal or not refusal.startswith(b"HTTP/1.1 404 "):
            raise Failed(f"an answer differs: {answer.decode()}")
        return took / 1e3

    def _exchange(self, request: bytes) -> bytes:
        self._sock.sendall(request)
        answer = b""
        while not _is_whole(answer):
            data = self._sock.recv(65536)
            if not data:
                raise Failed("the connection was closed")
            answer += data
        return answer


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    return length is not None and len(body) == int(length[1])


def _requests(asking: Asking, tickets: int) -> dict[str, list[bytes]]:
    """What is sent for each kind."""
    expired, waiting = ([asking.keep(target) for _ in range(tickets)] for target in ("/brief", "/long"))
    time.sleep(2 * _TTL)
    ids = {
        "made up": [ticket_id(random.randbytes(ID_BYTES)) for _ in range(tickets)],
        "nearly right": [known[:-2] + ("AA" if known[-2:] != "AA" else "BA") for known in waiting],
        "expired": expired,
        "waiting": waiting,
    }
    return {kind.name: [_request(one, kind.cookie) for one in ids[kind.ids]] for kind in KINDS}


def _request(ticket: str, cookie: bytes) -> bytes:
    return b"GET /_tickets/%b HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n%b\r\n" % (
        ticket.encode(),
        cookie,
    )


def _ask_for_all(asking: Asking, requests: Mapping[str, Sequence[bytes]], rounds: int) -> Times:
    times: dict[str, list[float]] = {name: [] for name in requests}
    order = list(requests)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            random.shuffle(order)
            for name in order:
                times[name].append(asking.time_of_refusal(random.choice(requests[name])))
    finally:
        gc.enable()
    return times


# What the times say.


def comparisons(times: Times) -> list[Comparison]:
    """Each kind that has a base, and, to show what can be seen, an unknown ticket that takes a little longer."""
    found = [_compared(kind.name, times[kind.name], times[kind.base]) for kind in KINDS if kind.base is not None]
    longer = [one + ADDED for one in times["unknown, once more"]]
    return [*found, _compared(f"unknown, and {ADDED:g} µs more", longer, times[_UNKNOWN])]


def _compared(name: str, times: Sequence[float], base: Sequence[float]) -> Comparison:
    first, median, third = statistics.quantiles(times, n=4)
    longer = statistics.fmean((one > other) + (one == other) / 2 for one, other in zip(times, base, strict=True))
    return Comparison(
        name,
        median,
        (first, third),
        median / statistics.median(base),
        auc(times, base),
        longer,
        (longer - 0.5) * 2 * math.sqrt(len(times)),
    )


def auc(values: Sequence[float], base: Sequence[float]) -> float:
    """The probability that one of `values` is larger than one of `base`, a tie being half of it (Mann and Whitney)."""
    ordered = sorted(base)
    below = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in values)
    return below / 2 / len(values) / len(base)


def report(times: Times) -> int:
    """Print the table; returns the exit code."""
    found = comparisons(times)
    chance = LIMIT / 2 / math.sqrt(len(times[_UNKNOWN]))
    print(f"{len(times[_UNKNOWN])} rounds; medians of the unknown: ", end="")
    print(", ".join(f"{statistics.median(times[name]):.1f} µs ({name})" for name in (_UNKNOWN, _NAMELESS)))
    print()
    print("| 404 for a ticket that is | median, µs | quartiles | ratio to unknown | AUC | slower in | |")
    print("|---|--:|--:|--:|--:|--:|---|")
    for one in found:
        word = "**differs**" if one.differs else "alike"
        quartiles = "{:.1f}–{:.1f}".format(*one.quartiles)
        figures = f"{one.median:.1f} | {quartiles} | {one.ratio:.3f} | {one.auc:.3f} | {one.longer:.1%}"
        print(f"| {one.name} | {figures} | {word} |")
    print()
    print(f"By chance {0.5 - chance:.1%} to {0.5 + chance:.1%} of the rounds are slower. AUC 0.5: nothing can be told.")
    return 1 if any(one.differs for one in found[:-1]) else 0


if __name__ == "__main__":
    sys.exit(main())
