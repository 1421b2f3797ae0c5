"""How is a request body read: no faster than it can go on, within its limit, and with one eye on it?"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol

from sseproxy.core.errors import BadRequest, RequestTooLarge
from sseproxy.core.http.peek import BodyPeek
from sseproxy.core.routes import Route
from sseproxy.http1.content import RequestContent
from sseproxy.http1.messages import RequestBody


class Body(Protocol):
    """A request body on its way; see `BodyReader`."""

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the last piece has come from the client."""

    async def collect(self, most: int, *, within: float | None) -> bytes | None: ...

    def take_whole(self) -> bytes | None: ...

    async def read_ahead(self) -> None: ...

    def pieces(self) -> AsyncIterator[bytes]: ...


def new_body(
    content: RequestContent | bytes, route: Route, *, ask: Callable[[], None] | None, peek: BodyPeek | None
) -> Body:
    """Return the body of a request along `route`, as it comes or, if it was kept, as a whole. See `BodyReader`."""
    if isinstance(content, bytes):
        return KeptBody(content, peek)
    return BodyReader(content, limit=route.limits.request_body, ask=ask, peek=peek, within=route.timeouts.request_body)


async def request_body(body: Body, length: int | None, *, limit: int | None, within: float | None) -> RequestBody:
    """Return the body as it goes to the upstream. length: as the client has declared it.

    Raises `ClientError`, also if nothing comes of a body without a length for `within` seconds.
    """
    if limit is not None and length is not None and length > limit:
        raise RequestTooLarge(f"The request body is larger than {limit} bytes.")
    whole = body.take_whole()
    if whole is not None:
        return RequestBody(whole, length)
    if length is None:
        try:
            async with asyncio.timeout(within):
                await body.read_ahead()
        except TimeoutError:
            raise _body_too_late() from None
    return RequestBody(body.pieces(), length)


def _body_too_late() -> BadRequest:
    return BadRequest("The request body did not come in time.")


class KeptBody:
    """A request body that has been here for a while. `peek`, if given, sees it at once."""

    def __init__(self, data: bytes, peek: BodyPeek | None) -> None:
        self._data = data
        if peek is not None:
            peek.feed(data)
            peek.end()

    @property
    def ended(self) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def collect(self, most: int, *, within: float | None) -> bytes | None:
        return self._data if len(self._data) <= most else None

    def take_whole(self) -> bytes | None:
        data, self._data = self._data, b""
        return data

    async def read_ahead(self) -> None:
        """Nothing is left to read."""

    async def pieces(self) -> AsyncIterator[bytes]:
        data, self._data = self._data, b""
        if data:
            yield data


class BodyReader:
    """The pieces of one request body.

    ask: called once before the first wait, to send ``100 Continue`` if the client waits for it.
    limit: in bytes; more raises `RequestTooLarge`. Anything malformed raises `BadRequest`.
    within: seconds from now on in which all of it has to come; if it does not, that is a `BadRequest`, too.
    """

    def __init__(
        self,
        content: RequestContent,
        *,
        limit: int | None,
        ask: Callable[[], None] | None,
        peek: BodyPeek | None,
        within: float | None = None,
    ) -> None:
        self._content = content
        self._deadline = None if within is None else asyncio.get_running_loop().time() + within
        self._limit = limit
        self._ask = ask
        self._size = 0
        self._ahead = b""  # read, and not taken
        if peek is not None:
            content.show(peek)

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the last piece has come from the client."""
        return self._content.ended

    async def collect(self, most: int, *, within: float | None) -> bytes | None:
        """Read until all is here, and return it; ``None`` if that is more than `most` bytes. It is still to be taken.

        within: seconds for each piece. Raises `ClientError`.
        """
        data = bytearray()
        while self._size <= most:
            try:
                async with asyncio.timeout(within):
                    piece = await self._read()
            except TimeoutError:
                raise _body_too_late() from None
            data += piece
            if not piece:
                self._ahead = bytes(data)
                return self._ahead
        self._ahead = bytes(data)
        return None

    def take_whole(self) -> bytes | None:
        """Return all of it, if all has come and nothing is wrong with it. Raises `RequestTooLarge`."""
        if not self._content.is_complete:
            return None
        ahead, self._ahead = self._ahead, b""
        rest = self._note(self._content.take())
        return ahead + rest if ahead else rest

    async def read_ahead(self) -> None:
        """Read the first piece, so that a body which is malformed from the start is known before anything is sent."""
        self._ahead = self._ahead or await self._read()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the pieces as they come."""
        piece, self._ahead = self._ahead or await self._read(), b""
        while piece:
            yield piece
            piece = await self._read()

    async def _read(self) -> bytes:
        if self._ask is not None and not self._content.is_complete:
            self._ask()
            self._ask = None
        if self._deadline is None:
            return self._note(await self._content.read())
        try:
            async with asyncio.timeout_at(self._deadline):
                return self._note(await self._content.read())
        except TimeoutError:
            raise _body_too_late() from None

    def _note(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._limit is not None and self._size > self._limit:
            raise RequestTooLarge(f"The request body is larger than {self._limit} bytes.")
        return piece
