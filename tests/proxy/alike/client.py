"""How does a client ask one request of a case after the other, and what does it get?"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from tests.proxy.alike.cases import Ask, Case, Leaving
from tests.proxy.alike.records import Reply
from tests.support.async_peer import AsyncPeer
from tests.support.http1_reader import Message, read_head
from tests.support.patience import LIMIT

_ID = re.compile(rb"^id: ?(\S+)$", re.MULTILINE)


class Client:
    """Plays cases at one port. wait_begun: until so many requests of the case have reached the upstream."""

    def __init__(self, port: int, wait_begun: Callable[[int], Awaitable[None]]) -> None:
        self._port = port
        self._wait_begun = wait_begun

    async def play(self, case: Case) -> tuple[Reply, ...]:
        """Ask all that the case asks."""
        replies: list[Reply] = []
        location, last_id = "/none", b"none"
        async with contextlib.AsyncExitStack() as connections:
            peer: AsyncPeer | None = None
            for number, (ask, _) in enumerate(case.exchanges):
                target = ask.target.replace("{location}", location)
                if ask.leaves is not Leaving.BEHIND:
                    peer = None  # so that nothing else is on the connection that breaks
                reply, is_again = Reply(), False
                for is_kept in (True, False) if peer is not None else (False,):
                    if not is_kept or peer is None:
                        peer = await connections.enter_async_context(AsyncPeer.connect(self._port))
                    async with asyncio.timeout(LIMIT):
                        reply = await self._exchange(peer, ask, ask.head(number, target, last_id))
                    if reply.status:
                        break  # otherwise the connection was closed, and may have been before the request came
                    is_again = is_kept
                replies.append(replace(reply, is_again=is_again, to_10=ask.version == "1.0"))
                if not may_be_kept(reply, ask):
                    peer = None
                for name, value in reply.fields:
                    if name.lower() in (b"location", b"content-location") and value.startswith(b"/"):
                        location = value.decode("latin-1")
                last_id = next(reversed(_ID.findall(reply.body)), last_id)
        return tuple(replies)

    async def _exchange(self, peer: AsyncPeer, ask: Ask, head: bytes) -> Reply:
        body = ask.framed_body
        if ask.leaves is Leaving.IN_BODY:
            await peer.send(head + body[: len(body) // 2])
            await self._wait_begun(1)
            await peer.close()
            return Reply()
        if not ask.expects:
            return await _said_and_heard(peer, ask, head + body)
        await peer.send(head)
        reply = await _read(peer, ask, asks_for_body=True)
        if not reply.status and reply.asked:
            reply = replace(await _said_and_heard(peer, ask, body), asked=True)
        return reply


async def _said_and_heard(peer: AsyncPeer, ask: Ask, data: bytes) -> Reply:
    """Send `data` until it is answered: a server may answer before it has read all, and read no more."""
    sending = asyncio.create_task(_send(peer, data, ask.cuts))
    reply = await _read(peer, ask)
    if not sending.done():
        sending.cancel()
        await asyncio.wait([sending])
        await peer.close()
        reply = replace(reply, fields=(*reply.fields, (b"Connection", b"close")))
    return reply


async def _send(peer: AsyncPeer, data: bytes, cuts: tuple[int, ...]) -> None:
    ends = [*(each for each in cuts if each < len(data)), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        await peer.send(data[start:end])
        await asyncio.sleep(0)


async def _read(peer: AsyncPeer, ask: Ask, *, asks_for_body: bool = False) -> Reply:
    """Return a response; with `asks_for_body`, perhaps only that the server has asked."""
    try:
        head = Message(await read_head(peer.reader))
        while head.status < 200:
            if head.status == 100 and asks_for_body:
                return Reply(asked=True)
            head = Message(await read_head(peer.reader))
    except (asyncio.IncompleteReadError, ConnectionError):
        return Reply()
    reply = Reply(head.status, tuple(head.fields))
    if ask.leaves is Leaving.IN_RESPONSE:
        await peer.close()
        return reply
    if ask.method == "HEAD" or head.status in (204, 304):
        return replace(reply, has_end=True)
    pieces: list[bytes] = []
    try:
        async for piece in _body(peer, head):
            pieces += (piece,)  # what has come is kept when the next one does not
    except (asyncio.IncompleteReadError, ConnectionError):
        return replace(reply, body=b"".join(pieces))
    return replace(reply, body=b"".join(pieces), has_end=True)


async def _body(peer: AsyncPeer, head: Message) -> AsyncIterator[bytes]:
    length = head.one(b"Content-Length")
    if head.one(b"Transfer-Encoding") is not None:
        while size := int(await peer.reader.readuntil(b"\r\n"), 16):
            yield (await peer.reader.readexactly(size + 2))[:-2]
        while await peer.reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailers
        return
    left = None if length is None else int(length)
    while left != 0:
        piece = await peer.reader.read(left or 65536)
        if not piece and (left is not None or peer.was_reset):
            raise ConnectionResetError
        if not piece:
            return
        yield piece
        left = None if left is None else left - len(piece)


def may_be_kept(reply: Reply, ask: Ask) -> bool:
    """Whether the client may ask again on the same connection."""
    options = b",".join(value for name, value in reply.fields if name.lower() == b"connection").lower()
    return reply.has_end and b"close" not in options and ask.version == "1.1"
