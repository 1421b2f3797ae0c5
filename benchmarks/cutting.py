"""What does it cost to cut an upstream's bytes into whole events, beside what the session does with them?

    python -m benchmarks.cutting

In ns for each event, the fastest of several runs. `Cutter.feed` is what a journal adds where the bytes come in,
`StreamSession.forward` what any event stream costs already.
"""

import time

from benchmarks.steps import EVENT
from sseproxy.core.journal.cutter import Cutter
from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.session import StreamSession

_LIMIT = 1024 * 1024

_RUNS = 400
_RUN = 0.0005  # seconds

#: What one token is in a chat completion: 205 bytes.
_CHUNK = (
    b'data: {"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","object":"chat.completion.chunk","created":1764500000,'
    b'"model":"gpt-4.1","choices":[{"index":0,"delta":{"content":" hi there!"},"finish_reason":null}]}\n\n'
)
_DELTA = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" hello"}}\n\n'
)
_LARGE = b"data: " + b"x" * (256 * 1024) + b"\n\n"

#: (its name, how many events it is, the reads, one after the other).
READS: tuple[tuple[str, int, tuple[bytes, ...]], ...] = (
    ("one line, 128 B", 1, (EVENT,)),
    ("a chunk of 205 B", 1, (_CHUNK,)),
    ("event and data", 1, (_DELTA,)),
    ("id and data", 1, (b"id: 4711\n" + EVENT,)),
    ("with CRLF", 1, (EVENT.replace(b"\n", b"\r\n"),)),
    ("a comment", 1, (b": keep-alive\n\n",)),
    ("20 of one line", 20, (EVENT * 20,)),
    ("20 of event and data", 20, (_DELTA * 20,)),
    ("20 with ids", 20, ((b"id: 4711\n" + EVENT) * 20,)),
    ("20 with CRLF", 20, (EVENT.replace(b"\n", b"\r\n") * 20,)),
    ("64 KiB, cut anywhere", 512, (EVENT[50:] + EVENT * 511 + EVENT[:50],)),
    ("one, in two halves", 1, (EVENT[:50], EVENT[50:])),
    ("256 KiB, in 4 KiB", 1, tuple(_LARGE[at : at + 4096] for at in range(0, len(_LARGE), 4096))),
)


def _cutting(cutter: Cutter, pieces: tuple[bytes, ...], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        for piece in pieces:
            cutter.feed(piece)
    return time.perf_counter() - began


def _relaying(session: StreamSession, pieces: tuple[bytes, ...], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        for piece in pieces:
            session.forward(piece, 1.0)
    return time.perf_counter() - began


def compare(pieces: tuple[bytes, ...]) -> tuple[float, float]:
    """Return the seconds that session and cutter take for `pieces`: the fastest of many short runs, in turns.

    In turns and short, so that what else the machine does falls on both, and on none of them all the time.
    """
    session, cutter = StreamSession(StreamPlan(), now=0.0), Cutter(_LIMIT)
    times = max(1, int(_RUN / _relaying(session, pieces, 1)))
    runs = [(_relaying(session, pieces, times), _cutting(cutter, pieces, times)) for _ in range(_RUNS)]
    relaying, cutting = zip(*runs, strict=True)
    return min(relaying) / times, min(cutting) / times


def main() -> None:
    """Print the table."""
    print("| one read, ns for each event | session | cutter | ratio |")
    print("|---|--:|--:|--:|")
    for name, events, pieces in READS:
        session, cutter = (seconds * 1e9 / events for seconds in compare(pieces))
        print(f"| {name} | {session:.0f} | {cutter:.0f} | {cutter / session:.2f} |", flush=True)


if __name__ == "__main__":
    main()
