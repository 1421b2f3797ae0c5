"""What does each step cost that bytes take from the upstream's read to the client's write?

    python -m benchmarks.steps

The steps are measured one by one, without an event loop's turns: the fastest of several runs, in µs. Beside them the
system calls that bring the same bytes in and out, on this machine's loopback. What the whole proxy costs, and others
cost, is for `make bench`; this tells where the Python part of it goes.
"""

import asyncio
import itertools
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, cast

import httptools

from sseproxy.core.errors import OriginError
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.ndjson import NdjsonSession
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.core.stream.transfer import Transfer
from sseproxy.engine.relay import Relay
from sseproxy.http1.client import UpstreamConnection
from sseproxy.http1.downstream import HttpDownstream
from sseproxy.http1.framing import Framing
from sseproxy.http1.messages import ResponseHead

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

_RUNS = 9
_RUN = 0.02  # seconds

_LONG = 64 * 1024

EVENT = b"data: " + b"x" * 120 + b"\n\n"

RECORD = b'{"response": "' + b"x" * 111 + b'"}\n'


class Body(Enum):
    """What kind of body the bytes are of."""

    EVENTS = "an event stream"
    RECORDS = "NDJSON"
    PLAIN = "no stream"


#: What is read at once: (its name, of which body, the reads, one after the other).
READS: tuple[tuple[str, Body, tuple[bytes, ...]], ...] = (
    ("an event of 128 B", Body.EVENTS, (EVENT,)),
    ("of two lines", Body.EVENTS, (b"event: a\ndata: " + EVENT[15:],)),
    ("with CRLF", Body.EVENTS, (EVENT[:-4] + b"\r\n\r\n",)),
    ("half of one", Body.EVENTS, (EVENT[:50], EVENT[50:])),
    ("64 KiB of them", Body.EVENTS, (EVENT * (_LONG // len(EVENT)),)),
    ("cut anywhere", Body.EVENTS, ((EVENT * (_LONG // len(EVENT)))[50:] + EVENT[:50],)),
    ("a record of 128 B", Body.RECORDS, (RECORD,)),
    ("half of one", Body.RECORDS, (RECORD[:50], RECORD[50:])),
    ("64 KiB of them", Body.RECORDS, (RECORD * (_LONG // len(RECORD)),)),
    ("128 B, no stream", Body.PLAIN, (bytes(128),)),
    ("64 KiB, no stream", Body.PLAIN, (bytes(_LONG),)),
)


class NullTransport:
    """Takes everything at no cost."""

    def write(self, data: bytes) -> None: ...

    def writelines(self, pieces: tuple[bytes, ...]) -> None: ...

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class NullDownstream(HttpDownstream):
    """One whose head has gone, on no connection."""

    def __init__(self) -> None:
        self._transport = cast(Any, NullTransport())
        self._framing, self._has_body, self._is_chunked, self._held = Framing.CHUNKED, True, True, b""
        self._gathers = True


class _LastPiece:
    """What llhttp reports, and the steps do not use."""

    def __init__(self) -> None:
        self.on_body = deque[bytes](maxlen=1).append


class Relayed:
    """Who waits for the response until its body flows by itself."""

    def responded(self, head: ResponseHead) -> None: ...

    def body(self, data: bytes) -> None: ...

    def ended(self) -> None: ...

    def failed(self, error: OriginError) -> None:
        raise error

    def rest(self) -> None: ...


def _transfer(body: Body) -> Transfer:
    if body is Body.EVENTS:
        return StreamSession(StreamPlan(), now=0.0)
    if body is Body.RECORDS:
        return NdjsonSession(StreamPlan(dialect=Dialect.OLLAMA), now=0.0)
    return Transfer(TimeoutPolicy(), now=0.0)


def null_relay() -> Relay:
    """A relay of an event stream whose bytes go nowhere."""
    return Relay(_transfer(Body.EVENTS), NullDownstream())


def _parsing(pieces: tuple[bytes, ...]) -> Callable[[], object]:
    """llhttp alone."""
    parser = httptools.HttpResponseParser(_LastPiece())
    parser.feed_data(HEAD)
    return _each(parser.feed_data, tuple(_chunk(piece) for piece in pieces))


def _deciding(body: Body, pieces: tuple[bytes, ...]) -> Callable[[], object]:
    """The session, or what a body has that is no stream: what leaves, and what is counted."""
    transfer = _transfer(body)
    return _each(lambda piece: transfer.forward(piece, 1.0), pieces)


def _writing(pieces: tuple[bytes, ...]) -> Callable[[], object]:
    """The chunk's framing, and the call of the transport, which does nothing."""
    write = NullDownstream().write
    if len(pieces) > 1:
        return _each(write, pieces)
    # Two equal ones in turns: the framing of one that has just been written is at hand, which is for feeds.
    turns = itertools.cycle((pieces[0], bytes(bytearray(pieces[0]))))
    return lambda: write(next(turns))


def _everything(body: Body, pieces: tuple[bytes, ...]) -> Callable[[], object]:
    """From `data_received` to `transport.write`, as it is in the proxy."""
    loop = asyncio.get_running_loop()
    relay = Relay(_transfer(body), NullDownstream())
    upstream = UpstreamConnection(loop)
    upstream.connection_made(cast(asyncio.Transport, NullTransport()))
    upstream.expect_response(Relayed(), to_head=False)
    upstream.data_received(HEAD)
    upstream.flow_into(relay.receive_data)
    return _each(upstream.data_received, tuple(_chunk(piece) for piece in pieces))


def _calling(pieces: tuple[bytes, ...]) -> Iterator[Callable[[], object]]:
    """`send` and `recv` of the same bytes over TCP, each with what the kernel does in it for the other end."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def once(data: bytes) -> None:
                ours.sendall(data)
                left = len(data)
                while left:
                    left -= len(theirs.recv(left))

            yield _each(once, tuple(_chunk(piece) for piece in pieces))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _each(step: Callable[[bytes], object], pieces: tuple[bytes, ...]) -> Callable[[], object]:
    if len(pieces) == 1:
        return lambda piece=pieces[0]: step(piece)  # type: ignore[misc]  # mypy knows no defaults of a lambda

    def both() -> None:
        for piece in pieces:
            step(piece)

    return both


def microseconds(step: Callable[[], object]) -> float:
    """What one call costs: the fastest of several runs, for a machine can only make it slower."""
    calls = 1
    while (took := _seconds(step, calls)) < _RUN:
        calls *= 2
    best = min(took, *(_seconds(step, calls) for _ in range(_RUNS)))
    return best / calls * 1e6


def _seconds(step: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        step()
    return time.perf_counter() - began


def steps(body: Body, pieces: tuple[bytes, ...]) -> Iterator[Callable[[], object]]:
    """Each step, all of them, and the system calls. What one gives is of use until the next is asked for."""
    yield _parsing(pieces)
    yield _deciding(body, pieces)
    yield _writing(pieces)
    yield _everything(body, pieces)
    yield from _calling(pieces)


async def main() -> None:
    """Print the table."""
    print("| one read, µs | llhttp | session | framing, write | all of it | recv + send |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, body, pieces in READS:
        costs = " | ".join(f"{microseconds(step):.2f}" for step in steps(body, pieces))
        print(f"| {name} | {costs} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
