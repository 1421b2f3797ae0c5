"""Is a client's connection read at the moment, and who notices meanwhile that the client has left?"""

import asyncio
import socket
from collections.abc import Callable
from enum import Enum
from typing import cast

from sseproxy.http1.disconnects import DisconnectWatch


class Pause(Enum):
    """Why a connection is not read. Each has a user of its own, who allows only what it has forbidden."""

    QUEUE = "there is another request behind the one under way"
    CONTENT = "a body comes faster than it is taken"
    TAIL = "it is not known yet what the bytes behind a request are"
    RAW = "another protocol's bytes come faster than they are taken"


class Reading:
    """Whether one client connection is read. pauses: why not; empty while it is.

    on_disconnect: called when the client has left while the connection was not read.
    """

    # A connection that is paused is in `disconnects`, because an event loop notices the end of a connection only by
    # reading. In a tunnel all that was sent before an end has to arrive, so there only a reset is reported.

    __slots__ = ("_disconnects", "_fd", "_full", "_on_disconnect", "_transport", "pauses")

    def __init__(self, disconnects: DisconnectWatch, on_disconnect: Callable[[], None]) -> None:
        self._disconnects = disconnects
        self._on_disconnect: Callable[[], None] | None = on_disconnect
        self._transport: asyncio.Transport | None = None
        self.pauses: set[Pause] = set()
        self._full = 0  # bodies that come faster than they are taken
        self._fd = -1

    def begin(self, transport: asyncio.Transport) -> None:
        """Begin to read from a new connection."""
        self._transport = transport

    def pause(self, why: Pause, on: bool = True) -> None:
        """Pause for this reason, or do not any more: reading goes on when no reason is left."""
        was_paused = bool(self.pauses)
        if on:
            self.pauses.add(why)
        else:
            self.pauses.discard(why)
        self._follow(was_paused)

    def pause_for_content(self, is_full: bool) -> None:
        """Note that one more body is full, or one less. Several may be: those of requests that wait."""
        self._full += 1 if is_full else -1
        self.pause(Pause.CONTENT, self._full > 0)

    def resume(self) -> None:
        """Read again, whatever the reason for the pause."""
        was_paused = bool(self.pauses)
        self.pauses.clear()
        self._follow(was_paused)

    def close(self) -> None:
        """Watch the connection no more: it is closed."""
        self._transport = self._on_disconnect = None  # the latter leads back to the connection
        self._stop_watching()

    def _follow(self, was_paused: bool) -> None:
        if self._transport is None or self._transport.is_closing() or was_paused is bool(self.pauses):
            return
        if self.pauses:
            self._transport.pause_reading()
            sock = cast("socket.socket | None", self._transport.get_extra_info("socket"))
            if sock is not None and self._fd < 0 and self._on_disconnect is not None:
                self._fd = sock.fileno()
                self._disconnects.add(self._fd, self._on_disconnect, is_heard_out=Pause.RAW in self.pauses)
        else:
            self._stop_watching()
            self._transport.resume_reading()

    def _stop_watching(self) -> None:
        if self._fd >= 0:
            self._disconnects.remove(self._fd)
            self._fd = -1
