"""What does ``sseproxy probe --serve`` answer: known events at known times, silences, and when did clients leave?"""

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sseproxy.probe.script import FIELD, Act, Script, read_script

_VISITS = 1000
_CONNECTIONS = 1000
_HEAD = 64 * 1024
_HEAD_LIMIT = 30.0
_CLOSE_LIMIT = 5.0

#: Fields by which hops show in a request. No others are sent back: a request may carry a password.
_SHOWN = frozenset(
    (
        "via",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "cf-ray",
        "cdn-loop",
        "x-amzn-trace-id",
        "x-cloud-trace-context",
        "x-envoy-expected-rq-timeout-ms",
        "x-amz-cf-id",
        "x-azure-ref",
        "x-kong-request-id",
        "fly-request-id",
        "x-vercel-id",
        "fastly-client-ip",
        "x-varnish",
        "accept-encoding",
    )
)


@dataclass(slots=True)
class _Visit:
    """What became of one request: how it ended, and when, by the loop's clock."""

    ending: str = "open"
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class _Request:
    version: str
    path: str
    fields: Mapping[str, str]

    @property
    def script(self) -> Script:
        return read_script(self.fields.get(FIELD.lower()))


class ProbeOrigin:
    """The origin for measuring. say: gets a line of text for each client that left, and for each stream that ended."""

    # 1. Each connection serves one request: so the end of the connection is that of the client, and what it sends
    #    behind its head is read only to see that end.
    # 2. The ping tells how long ago a visit ended, not when: the clocks of probe and origin need not agree.
    #
    # Hazards: a network that asks for a million visits (the oldest are forgotten) or connections (the newest are
    # refused). A request body is not awaited, so a client that sends none is answered, too.

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._visits: OrderedDict[str, _Visit] = OrderedDict()
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection, for `asyncio.start_server`."""
        self._open += 1
        try:
            if self._open <= _CONNECTIONS:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    await self._exchange(reader, writer)
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), _CLOSE_LIMIT)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_LIMIT):
            request = await _read_request(reader)
        if request is None:
            return
        script, clock = request.script, asyncio.get_running_loop().time
        visit, began = self._visit(script.visit), clock()
        answering = asyncio.ensure_future(self._answer(request, script, writer))
        leaving = asyncio.ensure_future(_end_of(reader))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_whole = answering.done() and not answering.cancelled() and answering.exception() is None
            visit.ending, visit.ended = ("sent" if is_whole else "left"), clock()
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
            if script.act is not Act.PING:
                what = "sent all of it" if is_whole else "the client has left"
                self._say(f"{_now()} {script.act} {request.path}: {what} after {visit.ended - began:.2f} s")

    def _visit(self, name: str) -> _Visit:
        visit = _Visit()
        if name:
            self._visits[name] = visit
            while len(self._visits) > _VISITS:
                self._visits.popitem(last=False)
        return visit

    async def _answer(self, request: _Request, script: Script, writer: asyncio.StreamWriter) -> None:
        if script.act is Act.PING:
            await _send_ping(writer, self._facts(request, script.of))
            return
        if script.act is Act.BEFORE:
            await asyncio.sleep(script.seconds)
        events = _Events(writer, script, version=request.version)
        await events.begin()
        await _ACTS[script.act](events)

    def _facts(self, request: _Request, of: str) -> dict[str, object]:
        visit = self._visits.get(of)
        facts: dict[str, object] = {
            "version": request.version,
            "fields": {name: value for name, value in request.fields.items() if name in _SHOWN},
        }
        if visit is not None:
            ago = asyncio.get_running_loop().time() - visit.ended
            facts["visit"] = {"ending": visit.ending, "ago": None if visit.ending == "open" else ago}
        return facts


class _Events:
    """The response of one request: its head, then events, as `script` says."""

    def __init__(self, writer: asyncio.StreamWriter, script: Script, *, version: str) -> None:
        self._writer = writer
        self.script = script
        self._has_chunks = version != "HTTP/1.0"
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._number = 0

    async def begin(self) -> None:
        """Send the head; the times of events count from here."""
        hints = self.script.hints
        lines = [
            "HTTP/1.1 200 OK",
            "Content-Type: text/event-stream",
            f"Cache-Control: no-cache{', no-transform' if hints else ''}",
            f"{FIELD}: 1",
            *(["X-Accel-Buffering: no"] if hints else []),
            *(["Transfer-Encoding: chunked"] if self._has_chunks else []),
            "Connection: close",
        ]
        self._began = self._clock()
        await self._write("\r\n".join([*lines, "", ""]).encode())

    async def event(self, at: float, name: str = "") -> None:
        """Wait until so many seconds after the head, and send an event that says so."""
        await asyncio.sleep(at - (self._clock() - self._began))
        data = json.dumps({"n": self._number, "at": round(self._clock() - self._began, 4), "time": _now()})
        self._number += 1
        text = f"{f'event: {name}' + chr(10) if name else ''}data: {data}\n\n".encode()
        await self._write(b"%x\r\n%b\r\n" % (len(text), text) if self._has_chunks else text)

    async def finish(self) -> None:
        """Send the last chunk."""
        if self._has_chunks:
            await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def _steady(events: _Events) -> None:
    *times, last = events.script.times
    for at in times:
        await events.event(at)
    await events.event(last, "end")
    await events.finish()


async def _before(events: _Events) -> None:
    await events.event(0, "end")
    await events.finish()


async def _after(events: _Events) -> None:
    await events.event(0)
    await events.event(events.script.seconds, "end")
    await events.finish()


async def _broken(events: _Events) -> None:
    await events.event(0)
    await events.event(events.script.step)
    # What was sent may reach the client before the break does.
    await asyncio.sleep(events.script.step)


_ACTS = {Act.STEADY: _steady, Act.BEFORE: _before, Act.AFTER: _after, Act.BROKEN: _broken}


@contextlib.asynccontextmanager
async def serving(host: str, port: int, say: Callable[[str], None]) -> AsyncIterator[str]:
    """Run the origin as long as the block runs; yields its URL. host: empty for all interfaces. Raises `OSError`."""
    origin, connections = ProbeOrigin(say), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(origin.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, host or None, port, limit=_HEAD)
    try:
        bound = server.sockets[0].getsockname()
        yield f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
    finally:
        server.close()
        running = tuple(connections)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _send_ping(writer: asyncio.StreamWriter, facts: Mapping[str, object]) -> None:
    body = json.dumps(facts).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{FIELD}: 1\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
    """The head of a request; None if what comes is none."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    words = start.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    pairs = (line.partition(":") for line in lines)
    path = words[1].partition("?")[0]
    # Written to a terminal, so without what could steer one.
    safe = "".join(letter if letter.isprintable() else "?" for letter in path[:200])
    return _Request(words[2], safe, {name.strip().lower(): value.strip() for name, _, value in pairs})


async def _end_of(reader: asyncio.StreamReader) -> None:
    """Wait until the client has ended its side, in order or not."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(_HEAD):
            pass


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
