"""What does the ASGI middleware cost: a request that is no stream, and an event of one that is?

    python benchmarks/middleware.py [--rounds N] [--seconds S]

Requests are driven without a server, so that nothing but the middleware differs: many short batches, each kind in turn
in each round, in an order that turns too. Streams are served by uvicorn to a client in C (needs a compiler), each kind
in turn in each round; sse-starlette's ping is measured on the same app. What counts are differences and ratios within
a round: what else the machine does disturbs them much less than it does the figures themselves. All are medians. Of
requests, they are those of the quietest quarter of the rounds, in which all kinds together took least, and in brackets
those of all rounds; of streams, those of all rounds with their range.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import compile_load, cpu_seconds, free_port, running, wait_for
from sseproxy.asgi import SSEKeepaliveMiddleware

BATCH = 200  # requests: a few milliseconds, in which a machine rarely changes its pace
ROUNDS = 500
WARM_UP = 5  # rounds that do not count
STREAMS = 100
RATE = 40.0  # events a second and stream
SIZE = 128

App = Callable[[Any, Any, Any], Any]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=3.0)
    arguments.add_argument("--serve", metavar="KIND", help=argparse.SUPPRESS)
    arguments.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        uvicorn.run(KINDS[options.serve](), port=options.port, log_level="warning", access_log=False)
        return 0
    report_requests(asyncio.run(measure_requests()))
    with tempfile.TemporaryDirectory(prefix="sseproxy-bench-") as folder:
        load = compile_load(Path(folder))
        report_streams(
            [{kind: measure_stream(kind, load, options.seconds) for kind in KINDS} for _ in range(options.rounds)]
        )
    return 0


# Requests that are no streams.

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/text",
    "raw_path": b"/text",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"bench"), (b"accept", b"*/*"), (b"user-agent", b"bench/1.0")],
    "client": ("127.0.0.1", 40000),
    "server": ("127.0.0.1", 8000),
}


JSON_SCOPE = {
    **SCOPE,
    "method": "POST",
    "headers": [*SCOPE["headers"], (b"content-type", b"application/json"), (b"content-length", b"17")],
}


async def bare(_: Any, __: Any, send: Any) -> None:
    """The least that an app can do."""
    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def bare_reading(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await bare(scope, receive, send)


async def text(_: Request) -> Response:
    return PlainTextResponse("hello")


def starlette_text_app() -> App:
    return Starlette(routes=[Route("/text", text)])


#: What is asked of whom.
REQUESTS: dict[str, tuple[App, dict[str, Any]]] = {
    "raw ASGI": (bare, SCOPE),
    "raw ASGI that reads its body": (bare_reading, SCOPE),
    "Starlette": (starlette_text_app(), SCOPE),
    "raw ASGI that reads a JSON body": (bare_reading, JSON_SCOPE),
}


async def measure_requests() -> dict[str, list[tuple[float, ...]]]:
    """For each app and round: CPU µs a request without, with, and with the middleware and before_response."""
    results: dict[str, list[tuple[float, ...]]] = {name: [] for name in REQUESTS}
    kinds = {name: kinds_of(app) for name, (app, _) in REQUESTS.items()}
    for number in range(WARM_UP + ROUNDS):
        for name, (_, scope) in REQUESTS.items():
            result = await measure_round(kinds[name], scope, first=number % 3)
            if number >= WARM_UP:
                results[name].append(result)
    return results


def kinds_of(app: App) -> tuple[App, ...]:
    return app, SSEKeepaliveMiddleware(app), SSEKeepaliveMiddleware(app, before_response="10s")


async def measure_round(kinds: tuple[App, ...], scope: dict[str, Any], *, first: int) -> tuple[float, ...]:
    """first: which of them begins, for the one that follows another may find its caches warm."""
    order = [*range(first, len(kinds)), *range(first)]
    used = {index: await requests(kinds[index], scope) for index in order}
    return tuple(used[index] for index in range(len(kinds)))


async def requests(app: App, scope: dict[str, Any]) -> float:
    message = {"type": "http.request", "body": b'{"stream": false}', "more_body": False}

    async def receive() -> Any:
        return message

    async def send(_: Any) -> None: ...

    began = time.process_time_ns()
    for _ in range(BATCH):
        await app(dict(scope), receive, send)
    return (time.process_time_ns() - began) / BATCH / 1000


def report_requests(results: dict[str, list[tuple[float, ...]]]) -> None:
    print("| a request that is no stream | CPU without, µs | more with it, µs | more with before_response, µs |")
    print("|---|--:|--:|--:|")
    for name, rounds in results.items():
        quiet = sorted(rounds, key=sum)[: len(rounds) // 4]
        columns = (
            f"{statistics.median(map(figure, quiet)):.2f} ({statistics.median(map(figure, rounds)):.2f})"
            for figure in (without, more_with(1), more_with(2))
        )
        print(f"| {name} | {' | '.join(columns)} |")
    print()


def without(one: tuple[float, ...]) -> float:
    return one[0]


def more_with(kind: int) -> Callable[[tuple[float, ...]], float]:
    return lambda one: one[kind] - one[0]


# Streams.


async def events() -> AsyncIterator[str]:
    padding = "x" * (SIZE - 28)
    due = time.monotonic()
    while True:
        yield f"{time.monotonic_ns():020d}{padding}"
        due += 1 / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def lines() -> AsyncIterator[bytes]:
    async for event in events():
        yield b"data: %b\n\n" % event.encode()


def starlette_app() -> App:
    async def endpoint(_: Request) -> Response:
        return StreamingResponse(lines(), media_type="text/event-stream")

    return Starlette(routes=[Route("/events", endpoint)])


def sse_starlette_app(ping: int) -> App:
    """ping: seconds; 0 for none."""

    async def endpoint(_: Request) -> Response:
        return EventSourceResponse(events(), ping=ping, sep="\n")

    return Starlette(routes=[Route("/events", endpoint)])


KINDS: dict[str, Callable[[], App]] = {
    "StreamingResponse": starlette_app,
    "StreamingResponse, middleware": lambda: SSEKeepaliveMiddleware(starlette_app(), heartbeat="1s"),
    "sse-starlette, no ping": lambda: sse_starlette_app(0),
    "sse-starlette, its ping": lambda: sse_starlette_app(1),
    "sse-starlette, middleware": lambda: SSEKeepaliveMiddleware(sse_starlette_app(0), heartbeat="1s"),
}
BASES = {"StreamingResponse": "StreamingResponse", "sse-starlette": "sse-starlette, no ping"}


def measure_stream(kind: str, load: Path, seconds: float) -> float:
    """CPU µs of the server for each event."""
    port = free_port()
    server = [sys.executable, __file__, "--serve", kind, "--port", str(port)]
    client = [str(load), "client", str(port), str(STREAMS), str(seconds), "0.5"]
    with running(server) as process:
        wait_for(port)
        with running(client, stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()  # all streams are open
            reader.stdout.readline()  # measuring
            before = cpu_seconds(process.pid)
            result = json.loads(reader.stdout.readline())
            used = cpu_seconds(process.pid) - before
    if result["broken"] or result["ended"] or not result["events"]:
        raise SystemExit(f"{kind} broke the stream: {result}")
    return float(used / result["events"] * 1e6)


def report_streams(rounds: list[dict[str, float]]) -> None:
    print(f"| {STREAMS} streams × {RATE:g}/s × {SIZE} B | CPU per event, µs | ratio to the same app without |")
    print("|---|--:|--:|")
    for kind in KINDS:
        base = BASES[kind.partition(",")[0]]
        ratio = [one[kind] / one[base] for one in rounds]
        print(f"| {kind} | {middle([one[kind] for one in rounds])} | {middle(ratio)} |")


def middle(values: list[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    sys.exit(main())
