"""What happens to a client's connection before it speaks TLS? (RFC 8446 section 2)"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from sseproxy.core.frames import release_frames
from sseproxy.http1.sockets import accept_waiting

#: Seconds without accepting after the system had no descriptor for another connection.
_PAUSE = 1.0

#: Errors of the system, not of one client (accept(2)).
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Evictable(Protocol):
    """A client's connection, as far as a limit of connections needs it."""

    def make_room(self) -> None:
        """Close the connection, which is idle, for another client's."""

    def abort(self) -> None:
        """Close the connection at once."""


class TlsHandshake:
    """A client that is connected and has not finished its handshake."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begin(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        within: float,
        new_connection: Callable[[], asyncio.Protocol],
        on_end: Callable[["TlsHandshake"], object],
    ) -> None:
        """Do the handshake on `sock`, which is closed if it fails, or takes longer than `within` seconds."""
        steps = self._steps(sock, context, within, new_connection, on_end)
        self._task = asyncio.get_running_loop().create_task(steps)

    def make_room(self) -> None:
        """Close the connection for another client's."""
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._task is not None:
            self._task.cancel()

    async def _steps(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        within: float,
        new_connection: Callable[[], asyncio.Protocol],
        on_end: Callable[["TlsHandshake"], object],
    ) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                new_connection, sock, ssl=context, ssl_handshake_timeout=within
            )
        except (OSError, asyncio.CancelledError) as error:  # ssl.SSLError is one of the former
            sock.close()
            release_frames(error)
        finally:
            self._task = None
            on_end(self)


class TlsAcceptor:
    """Accepts connections on a listening socket. accept: takes each of them, and owns it.

    An event loop that is handed a TLS context reports no client before its handshake is over: such clients would
    count for no limit, and each has a descriptor. `close` ends the accepting; the socket is closed with it.
    """

    def __init__(self, sock: socket.socket, accept: Callable[[socket.socket], object]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock, self._accept_some)

    def close(self) -> None:
        """Accept those who wait in the queue, then no more, and close the socket."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        for sock in accept_waiting(self._sock):
            self._accept(sock)
        self._sock.close()

    def _accept_some(self) -> None:
        """Accept the next client. More of them bring another call."""
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            # Hazard: the client still waits in the queue, so without a pause the loop would turn without end.
            self._loop.remove_reader(self._sock)
            self._pause = self._loop.call_later(_PAUSE, self._loop.add_reader, self._sock, self._accept_some)
            return
        sock.setblocking(False)
        self._accept(sock)
