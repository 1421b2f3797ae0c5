"""How does the body of a request get from the client's connection to its reader?"""

import asyncio
from collections.abc import Callable

from sseproxy.core.errors import BadRequest, ClientError
from sseproxy.core.http.peek import BodyPeek

#: Bytes that may wait to be read. Beyond, the client is not listened to until all have been.
MOST_WAITING = 64 * 1024


class RequestContent:
    """The pieces of one request body, in the order in which they came.

    hold: called with true when no more of it may be read from the client for now, and with false when it may again.
    is_complete: its end has come, whether or not it has been read so far.
    """

    __slots__ = (
        "_ended",
        "_error",
        "_hold",
        "_is_dropped",
        "_is_held",
        "_peek",
        "_pieces",
        "_size",
        "_waiting",
        "is_complete",
    )

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self._hold = hold
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiting: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._peek: BodyPeek | None = None
        self._error: ClientError | None = None
        self._is_held = self._is_dropped = False
        self.is_complete = False

    @classmethod
    def empty(cls) -> "RequestContent":
        """A body with nothing in it."""
        content = cls(lambda _: None)  # no connection brings it
        content.is_complete = True
        return content

    # The connection's side.

    def feed(self, piece: bytes) -> None:
        """Take another piece, which has come from the client."""
        if self._is_dropped:
            return
        if self._peek is not None:
            self._peek.feed(piece)
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MOST_WAITING and not self._is_held:
            self._is_held = True
            self._hold(True)
        self._wake()

    def end(self) -> None:
        """Note that the last piece has come."""
        self.is_complete = True
        if self._peek is not None:
            self._peek.end()
        self._note_end()
        self._wake()

    def fail(self, error: ClientError) -> None:
        """Drop what has come, because no more will; the reader gets `error`. A body that is complete stays as it is."""
        if not self.is_complete and self._error is None:
            self._error = error
            self._note_end()
            self._wake()

    # The reader's side.

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the last piece has come, or none will; whether or not it has been read."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
            if self.is_complete or self._error is not None:
                self._ended.set_result(None)
        return self._ended

    def show(self, peek: BodyPeek) -> None:
        """Let `peek` see each piece when it comes, those first that have come; nothing may have been read yet."""
        for piece in self._pieces:
            peek.feed(piece)
        if self.is_complete:
            peek.end()
        else:
            self._peek = peek

    async def read(self) -> bytes:
        """Return what has come since, or wait for it; nothing at the end.

        Raises what `fail` was given, and `BadRequest` where `drop` has thrown something away.
        """
        while not (self._pieces or self.is_complete or self._is_dropped) and self._error is None:
            waiting = self._waiting = asyncio.get_running_loop().create_future()
            try:
                await waiting
            finally:
                if self._waiting is waiting:  # and not that of a reader that came later
                    self._waiting = None
        if self._error is not None:
            raise self._error
        if self._is_dropped:
            raise BadRequest("The response came before the end of the request body.")
        return self.take()

    def take(self) -> bytes:
        """Return what has come since, perhaps nothing."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._release()
        return data

    def drop(self) -> None:
        """Throw the rest away as it comes. `read` raises then, or half a body would look whole."""
        if self._pieces or not self.is_complete:
            self._is_dropped = True
        self._pieces.clear()
        self._release()
        self._wake()

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._hold(False)

    def _note_end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
