"""How does a server send the scripts of `endings`, and speak enough MCP for a client to call a tool?"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.clients.beats import Form, Phase, beaten
from tests.e2e.clients.endings import REQUEST_ID, Cell, Position, Script, script
from tests.e2e.clients.scenes import ERRORS, LATE, Gate, Scene, error_body, json_body, some_events

#: Seconds between the pieces: a client gets them in several reads.
_PAUSE = 0.01
#: Seconds that a scene waits for the proxy to leave.
_STAYS = 30.0
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

    The path of a request is its script: ``/RUN/SERVICE/POSITION/CELL/…`` or ``/RUN/SERVICE/PHASE/FORM/…``
    or ``/RUN/SERVICE/scene/NAME/…``.
    requests: all that have come. lingered: by target, the seconds after which the client left, if it did.
    """

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    lingered: dict[str, float | None] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)
    loop: asyncio.AbstractEventLoop | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; from now on there is a `url`."""
        self.loop = asyncio.get_running_loop()
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
        _, _run, service, place, what, *_ = request.target.split("/")
        message = json.loads(request.body) if service == "mcp" and request.method == "POST" else {}
        if service == "mcp" and message.get("method") != "tools/call":
            await _answer_rpc(writer, request, message, late=what == Scene.LATE_INITIALIZE)
            return True
        if place == "scene":
            return await self._play(Scene(what), request, message.get("id"), reader, writer)
        to_send = _script(service, place, what)
        await _send_script(writer, to_send, message.get("id"))
        if to_send.late:
            self.lingered[request.target] = await _linger(reader, to_send.late)
        return to_send.kept

    async def _play(
        self,
        scene: Scene,
        request: Request,
        request_id: object,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        service = request.target.split("/")[2]
        whole = script(service, Position.AFTER, Cell.WHOLE)
        if scene.startswith("late"):
            await asyncio.sleep(LATE)
        match scene:
            case Scene.GATED:
                some = len(some_events(service))
                await _send_head(writer, whole)
                await _send_pieces(writer, whole.pieces[: some + 1], request_id)
                await self.gate.passed()
                await _send_pieces(writer, whole.pieces[some + 1 :], request_id, b"0\r\n\r\n")
                return True
            case Scene.LATE_WHOLE:
                await _send_script(writer, whole, request_id)
                return True
            case Scene.LATE_INITIALIZE if request.field("Mcp-Session-Id") != _SESSION:
                await _send(writer, "400 Bad Request", b"no session")
                return True
            case Scene.LATE_JSON | Scene.LATE_INITIALIZE:
                await _send(writer, "200 OK", json_body(service, request_id), "Content-Type: application/json")
                return True
            case Scene.LATE_429 | Scene.LATE_400 | Scene.LATE_404:
                status, body = ERRORS[scene][0], error_body(service, scene, request_id)
                await _send(writer, status, body, "Content-Type: application/json", "Retry-After: 7")
                return True
            case Scene.BREAKS:
                await _send_head(writer, whole)
                await _send_pieces(writer, some_events(service), request_id)
            case Scene.STAYS:
                await _send_head(writer, whole)
                await _send_pieces(writer, whole.pieces, request_id)
                self.lingered[request.target] = await _linger(reader, _STAYS)
            case Scene.SILENT:
                await _linger(reader, _STAYS)
        return False


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


async def _answer_rpc(
    writer: asyncio.StreamWriter, request: Request, message: Mapping[str, Any], *, late: bool
) -> None:
    """Answer all but the call of a tool. late: ``initialize`` takes long, and a call without its session is refused."""
    if request.method != "POST":
        await _send(writer, "405 Method Not Allowed" if request.method == "GET" else "200 OK", b"")
        return
    if "id" not in message:
        await _send(writer, "202 Accepted", b"")
        return
    result = _ANSWERS.get(message["method"])
    said = {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
    if message["method"] == "initialize":
        said["result"] = {**_INITIALIZED, "protocolVersion": message["params"]["protocolVersion"]}
        await asyncio.sleep(LATE if late else 0)
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


async def _send_script(writer: asyncio.StreamWriter, to_send: Script, request_id: object) -> None:
    """Send head, pieces and end, chunked; the end in one piece with the last."""
    await _send_head(writer, to_send)
    await _send_pieces(writer, to_send.pieces, request_id, b"0\r\n\r\n" if to_send.clean else b"")


async def _send_head(writer: asyncio.StreamWriter, to_send: Script) -> None:
    fields = [f"Content-Type: {to_send.media}", "Transfer-Encoding: chunked", *to_send.fields]
    writer.write("\r\n".join(("HTTP/1.1 200 OK", *fields, "", "")).encode())
    await writer.drain()


async def _send_pieces(
    writer: asyncio.StreamWriter, pieces: Sequence[bytes], request_id: object, end: bytes = b""
) -> None:
    for number, piece in enumerate(pieces, start=1):
        await asyncio.sleep(_PAUSE)
        data = piece.replace(REQUEST_ID, json.dumps(request_id).encode())
        writer.write(b"%x\r\n%s\r\n" % (len(data), data) + (end if number == len(pieces) else b""))
        await writer.drain()
