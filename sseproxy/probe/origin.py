"""What does ``sseproxy probe --serve`` answer: known events at known times, silences, and when did clients leave?"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from sseproxy.probe.acts import ACTS, Events, now, send_ping
from sseproxy.probe.asked import Request, read_request, until_end_of
from sseproxy.probe.script import Act, Script

_VISITS = 1000
_CONNECTIONS = 1000
_HEAD = 64 * 1024
_HEAD_LIMIT = 30.0
_CLOSE_LIMIT = 5.0


@dataclass(slots=True)
class _Visit:
    """What became of one request: how it ended, and when, by the loop's clock."""

    ending: str = "open"
    ended: float = 0.0


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
            request = await read_request(reader)
        if request is None:
            return
        script, clock = request.script, asyncio.get_running_loop().time
        visit, began = self._visit(script.visit), clock()
        answering = asyncio.ensure_future(self._answer(request, script, writer))
        leaving = asyncio.ensure_future(until_end_of(reader))
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
                self._say(f"{now()} {script.act} {request.path}: {what} after {visit.ended - began:.2f} s")

    def _visit(self, name: str) -> _Visit:
        visit = _Visit()
        if name:
            self._visits[name] = visit
            while len(self._visits) > _VISITS:
                self._visits.popitem(last=False)
        return visit

    async def _answer(self, request: Request, script: Script, writer: asyncio.StreamWriter) -> None:
        if script.act is Act.PING:
            await send_ping(writer, self._facts(request, script.of))
            return
        if script.act is Act.BEFORE:
            await asyncio.sleep(script.seconds)
        events = Events(writer, script, version=request.version)
        await events.begin()
        await ACTS[script.act](events)

    def _facts(self, request: Request, of: str) -> dict[str, object]:
        visit = self._visits.get(of)
        facts: dict[str, object] = {
            "version": request.version,
            "fields": request.shown,
        }
        if visit is not None:
            ago = asyncio.get_running_loop().time() - visit.ended
            facts["visit"] = {"ending": visit.ending, "ago": None if visit.ending == "open" else ago}
        return facts


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
