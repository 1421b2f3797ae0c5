"""How does a stream end: with what wait for a client that takes no more, and with what error for the server?"""

import asyncio

from sseproxy.asgi.errors import StreamAborted
from sseproxy.asgi.receive_channel import ReceiveChannel
from sseproxy.asgi.send_queue import SendQueue
from sseproxy.core.stream.ends import row
from sseproxy.core.stream.transfer import CloseReason, Transfer

#: Seconds for a stream that has no write timeout, and for a clean end that comes at the last moment of a drain.
_AT_MOST = 30.0
_AT_LEAST = 0.5


class FinalFlush:
    """The last bytes of one stream. write: seconds for which a client may take none of them.

    is_truncated: they did not all go out in time.
    """

    def __init__(self, session: Transfer, queue: SendQueue, *, write: float | None) -> None:
        self._session = session
        self._queue = queue
        self._write = _AT_MOST if write is None else write
        self._deadline: float | None = None  # of a drain
        self._limits: set[asyncio.Timeout] = set()
        self.is_truncated = False

    async def run(self) -> None:
        """Send what is queued, as long as there is time. Raises what the server's `send` raises."""
        limit = asyncio.timeout_at(self._end(clean=self._session.clean))
        try:
            async with limit:
                self._limits.add(limit)
                await self._queue.flush()
        except TimeoutError:
            if not limit.expired():
                raise
            self.is_truncated = True
        finally:
            self._limits.discard(limit)

    async def run_quietly(self) -> None:
        """The same, when the app is not in `send`: a client that has left is nothing to raise."""
        try:
            await self.run()
        except OSError:
            self._queue.close()  # the client has left, says a server that follows ASGI 2.4

    def drain(self, deadline: float | None) -> None:
        """End what is under way by `deadline`, on the event loop's clock."""
        self._deadline = deadline
        for limit in self._limits:
            end, now = limit.when(), self._end(clean=True)
            if end is not None and now < end and not limit.expired():
                limit.reschedule(now)

    def _end(self, *, clean: bool) -> float:
        now = asyncio.get_running_loop().time()
        end = now + self._write
        if self._deadline is None:
            return end
        return min(end, max(self._deadline, now + _AT_LEAST) if clean else self._deadline)

    async def linger(self, channel: ReceiveChannel, seconds: float) -> None:
        """Keep a stream that breaks open for `seconds`, until its client has left.

        Hazard: Node's `fetch` and aiohttp drop what their reader has not read when the connection breaks.
        """
        reason = self._session.close_reason
        is_by_client = reason is None or row(reason).is_by_client
        if not (is_by_client or channel.has_left or self.is_truncated or self._queue.error is not None):
            await channel.wait_for_disconnect(seconds)

    @property
    def is_broken(self) -> bool:
        """Whether a client that is still there must not take the stream for complete."""
        is_whole = self._session.clean and not self.is_truncated
        return not is_whole and self._session.close_reason is not CloseReason.CLIENT_GONE

    def raise_if_broken(self, *, app_is_complete: bool) -> None:
        """Raise what makes the server break the connection, if the end must not look like a complete response.

        app_is_complete: the app has sent the last of its response. If it has not, the server breaks the connection
        by itself.
        """
        reason, failure = self._session.close_reason, self._queue.error
        if failure is not None and not isinstance(failure, OSError):
            try:
                raise failure
            finally:
                del failure  # or this frame, which it holds, would hold it
        if reason is CloseReason.UPSTREAM_END and self.is_truncated:
            reason = CloseReason.CLIENT_STALLED
        is_whole = self._session.clean and not self.is_truncated
        if reason is not None and not is_whole and (app_is_complete or not row(reason).server_ends):
            raise StreamAborted(reason) from None
