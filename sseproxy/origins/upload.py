"""How does a request body go to the upstream while it still comes from the client?"""

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import Enum
from typing import Any

from sseproxy.core.errors import BadRequest, ResponseTimeout, UpstreamBroken
from sseproxy.core.frames import release_frames
from sseproxy.http1.client import UpstreamConnection
from sseproxy.http1.framing import CHUNK, LAST_CHUNK
from sseproxy.http1.messages import ResponseHead


def no_response_in_time() -> ResponseTimeout:
    """Return the error of an upstream that has not answered in time."""
    return ResponseTimeout("The upstream did not answer in time.", proxy_status="http_response_timeout")


class _Awaits(Enum):
    CLIENT = "the next piece"
    UPSTREAM = "room for the last piece"
    NOTHING = "all has been written"


class Upload:
    """A request body on its way to an upstream.

    length: in bytes; None if only its end will tell, then it goes in chunks. on_break: called, from the event loop,
    if the body breaks off or cannot be written.
    """

    # Plan: one task takes piece after piece from the client and waits until the connection takes it. `send` waits for
    # the response head beside it, which may come before the end of the body; then the task goes on alone.
    #
    # Rules:
    # 1. Until the response has come, `send` raises what breaks the body. `on_break` is called in any case.
    # 2. Each piece that goes out shows that the upstream lives: the wait for its response begins anew.
    # 3. If the time is up while the next piece is awaited, the client is to blame (400), else the upstream (504).
    # 4. A response that came before the connection broke says more than the break, which is then no error.
    #
    # Hazard: upstreams refuse a large upload early and close (413 without reading). The head comes, then writing fails.

    __slots__ = ("_awaits", "_connection", "_length", "_limit", "_on_break", "_response", "_task")

    def __init__(self, connection: UpstreamConnection, length: int | None, *, on_break: Callable[[], None]) -> None:
        self._connection = connection
        self._length = length
        self._on_break: Callable[[], None] | None = on_break
        self._awaits = _Awaits.CLIENT
        self._task: asyncio.Task[None] | None = None
        self._response: asyncio.Future[ResponseHead] | None = None  # only while `send` waits for it, as the limit
        self._limit: asyncio.Timeout | None = None

    @property
    def is_complete(self) -> bool:
        """True if all of the body has been written."""
        return self._awaits is _Awaits.NOTHING

    @property
    def is_running(self) -> bool:
        """True if more may be written."""
        return self._task is not None and not self._task.done()

    async def send(
        self, pieces: AsyncIterator[bytes], response: asyncio.Future[ResponseHead], *, within: float | None
    ) -> None:
        """Send the body until `response` has come; the rest of it goes on in the background.

        Raises what `response` or `pieces` raise, and `BadRequest` or `ResponseTimeout` where nothing goes on for
        `within` seconds.
        """
        self._response = response
        try:
            async with asyncio.timeout(within) as self._limit:
                self._task = asyncio.create_task(self._write_all(pieces, within))
                self._task.add_done_callback(self._done)
                either: tuple[asyncio.Future[Any], ...] = (self._task, response)
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not response.done():
                    either[0].result()
                await response
        except TimeoutError:
            if self._awaits is _Awaits.CLIENT:
                raise BadRequest("The request body did not come in time.") from None
            raise no_response_in_time() from None
        finally:
            self._response = self._limit = None

    def cancel(self) -> None:
        """Write no more."""
        if self.is_running and self._task is not None:
            self._task.cancel()

    async def _write_all(self, pieces: AsyncIterator[bytes], within: float | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for piece in pieces:
                self._awaits = _Awaits.UPSTREAM
                self._write(piece if self._length is not None else CHUNK % (len(piece), piece))
                await self._connection.drain()
                if within is not None and self._limit is not None and self._awaits_response:
                    self._limit.reschedule(loop.time() + within)
                self._awaits = _Awaits.CLIENT
            if self._length is None:
                self._write(LAST_CHUNK)
            self._awaits = _Awaits.NOTHING
        except UpstreamBroken:
            if self._awaits_response:  # rule 4
                raise
        except asyncio.CancelledError as error:
            release_frames(error)
            raise

    @property
    def _awaits_response(self) -> bool:
        return self._response is not None and not self._response.done()

    def _write(self, data: bytes) -> None:
        if self._connection.transport is not None:
            self._connection.transport.write(data)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        on_break, self._on_break = self._on_break, None  # it leads back here
        error = None if task.cancelled() else task.exception()
        if error is not None and on_break is not None:
            release_frames(error)
            on_break()
