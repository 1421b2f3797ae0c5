"""How does a server send the scripts of `endings`, and speak enough MCP for a client to call a tool?"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.clients.beats import Form, Phase, beaten
from tests.e2e.clients.endings import REQUEST_ID, Cell, Position, Script, script

#: Seconds between the pieces: a client gets them in several reads.
_PAUSE = 0.01
_SESSION = "session-1"
_INITIALIZED = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}, "logging": {}},
    "serverInfo": {"name": "stand-in", "version": "1"},
}
_TOOLS = {"tools": [{"name": "slow", "description": "Takes long.", "inputSchema": {"type": "object"}}]}
_ANSWERS = {"initialize": _INITIALIZED, "tools/list": _TOOLS, "ping": {}, "logging/setLevel": {}}


@dataclass(slots=True)
class Request:
    """line: method and target. fields: in their order, as they came."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes = b""

    def field(self, name: str) -> str:
        return next((value for key, value in self.fields if key.lower() == name.lower()), "")


@dataclass(slots=True)
class EndsUpstream:
    """A server on a loopback port of the kernel's choice, in a loop of its own.

    The path of a request is its script: ``/RUN/SERVICE/POSITION/CELL/…`` or ``/RUN/SERVICE/PHASE/FORM/…``.
    requests: all that have come. lingered: by target, the seconds after which the client left, if it did.
    """

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    lingered: dict[str, float | None] = field(default_factory=dict)
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
                request = await _read(reader)
                self.requests.append(request)
                kept = await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left: its own business
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is kept for another request."""
        _, _run, service, position, cell, *_ = request.target.split("/")  # or phase and form
        message = json.loads(request.body) if service == "mcp" and request.method == "POST" else {}
        if service != "mcp" or message.get("method") == "tools/call":
            to_send = _script(service, position, cell)
            await send_script(writer, to_send, message.get("id"))
            if to_send.late:
                self.lingered[request.target] = await _linger(reader, to_send.late)
            return to_send.kept
        if message:
            await _answer_rpc(writer, message)
        else:
            await _send(writer, "405 Method Not Allowed" if request.method == "GET" else "200 OK", b"")
        return True


def _script(service: str, place: str, what: str) -> Script:
    if what in set(Form):
        return beaten(service, Phase(place), Form(what))
    return script(service, Position(place), Cell(what))


@contextmanager
def serving(upstream: EndsUpstream) -> Iterator[EndsUpstream]:
    """`upstream` at work, in a loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ends-upstream")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(upstream.start(), loop).result(timeout=10)
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines if line)]
    request = Request(method, target, fields)
    if request.field("Transfer-Encoding").lower() == "chunked":
        request.body = await _chunks(reader)
    else:
        request.body = await reader.readexactly(int(request.field("Content-Length") or 0))
    return request


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def _answer_rpc(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    """Answer what comes before the call: notifications, ``initialize``, and what this server does not know."""
    if "id" not in message:
        await _send(writer, "202 Accepted", b"")
        return
    result = _ANSWERS.get(message["method"])
    said = {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
    if message["method"] == "initialize":
        said["result"] = {**_INITIALIZED, "protocolVersion": message["params"]["protocolVersion"]}
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode()
    await _send(writer, "200 OK", body, "Content-Type: application/json", f"Mcp-Session-Id: {_SESSION}")


async def _send(writer: asyncio.StreamWriter, status: str, body: bytes, *fields: str) -> None:
    head = "\r\n".join((f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""))
    writer.write(head.encode() + body)
    await writer.drain()


async def _linger(reader: asyncio.StreamReader, limit: float) -> float | None:
    """Wait for the client to leave. Returns the seconds that it took, or None if it was still there at the end."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    try:
        async with asyncio.timeout(limit):
            await reader.read(1)
    except TimeoutError:
        return None
    except ConnectionError:
        pass
    return loop.time() - since


async def send_script(writer: asyncio.StreamWriter, to_send: Script, request_id: object = None) -> None:
    """Send head, pieces and end, chunked; the end in one piece with the last."""
    fields = [f"Content-Type: {to_send.media}", "Transfer-Encoding: chunked", *to_send.fields]
    writer.write("\r\n".join(("HTTP/1.1 200 OK", *fields, "", "")).encode())
    end = b"0\r\n\r\n" if to_send.clean else b""
    for number, piece in enumerate(to_send.pieces, start=1):
        await asyncio.sleep(_PAUSE)
        data = piece.replace(REQUEST_ID, json.dumps(request_id).encode())
        writer.write(b"%x\r\n%s\r\n" % (len(data), data) + (end if number == len(to_send.pieces) else b""))
        await writer.drain()
