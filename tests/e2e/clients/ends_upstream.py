"""How does a server send the scripts and play the scenes, and speak enough MCP for a client to call a tool?"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.clients.beats import Form, Phase, beaten
from tests.e2e.clients.endings import Cell, Position, Script, script
from tests.e2e.clients.exchange import Exchange, Request, read_request
from tests.e2e.clients.late_answers import LateAnswer, Promises, answer
from tests.e2e.clients.scenes import LATE, STAYING, Gate, Scene, play, refuse

_SESSION = "session-1"
_INITIALIZED = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}, "logging": {}},
    "serverInfo": {"name": "stand-in", "version": "1"},
}
_TOOLS = {"tools": [{"name": "slow", "description": "Takes long.", "inputSchema": {"type": "object"}}]}
_ANSWERS = {"initialize": _INITIALIZED, "tools/list": _TOOLS, "ping": {}, "logging/setLevel": {}}


@dataclass(slots=True)
class EndsUpstream:
    """A server on a loopback port of the kernel's choice.

    The path of a request is its script: ``/RUN/SERVICE/POSITION/CELL/…`` or ``/RUN/SERVICE/PHASE/FORM/…``
    or ``/RUN/SERVICE/scene/NAME/…``, or ``/RUN/SERVICE/answer/NAME/…`` for an answer that is no stream.
    requests: all that have come. lingered: by target, the seconds after which the client left, if it did.
    """

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    lingered: dict[str, float | None] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)
    promises: Promises = field(default_factory=Promises)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; from now on there is a `url`."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            kept = True
            while kept:
                request = await read_request(reader)
                self.requests.append(request)
                kept = await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over; asyncio.streams would log a cancelled task as an error
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is kept for another request."""
        _, _run, service, place, what, *_ = request.target.split("/")
        message = json.loads(request.body) if service == "mcp" and request.method == "POST" else {}
        exchange = Exchange(request, message.get("id"), reader, writer)
        if what == Scene.LATE_GET and request.method == "GET":
            await refuse(Scene.LATE_404, exchange)
            return True
        if service == "mcp" and message.get("method") != "tools/call":
            await _answer_rpc(exchange, message, late=what == Scene.LATE_INITIALIZE)
            return True
        if place == "answer":
            return await answer(LateAnswer(what), exchange, self.gate, self.promises)
        if place == "scene":
            kept = await play(Scene(what), exchange, self.gate)
            stays = STAYING.get(Scene(what), 0.0)
        else:
            to_send = _script(service, place, what)
            await exchange.send_script(to_send)
            kept, stays = to_send.clean, to_send.late
        if stays:
            self.lingered[request.target] = await exchange.linger(stays)
        return kept


def _script(service: str, place: str, what: str) -> Script:
    if what in set(Form):
        return beaten(service, Phase(place), Form(what))
    return script(service, Position(place), Cell(what))


async def _answer_rpc(exchange: Exchange, message: Mapping[str, Any], *, late: bool) -> None:
    """Answer all but the call of a tool. late: ``initialize`` takes long."""
    if exchange.request.method != "POST":
        await exchange.send("405 Method Not Allowed" if exchange.request.method == "GET" else "200 OK", b"")
        return
    if "id" not in message:
        await exchange.send("202 Accepted", b"")
        return
    result = _ANSWERS.get(message["method"])
    said = {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
    if message["method"] == "initialize":
        said["result"] = {**_INITIALIZED, "protocolVersion": message["params"]["protocolVersion"]}
        await asyncio.sleep(LATE if late else 0)
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode()
    await exchange.send_json("200 OK", body, f"Mcp-Session-Id: {_SESSION}")


@contextmanager
def serving(upstream: EndsUpstream) -> Iterator[EndsUpstream]:
    """`upstream` at work, in a loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ends-upstream")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(upstream.start(), loop).result(timeout=60)
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
