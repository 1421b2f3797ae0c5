"""Why is a client's connection not read at the moment, and who notices meanwhile that the client has left?"""

import asyncio
import socket
from collections.abc import Callable
from enum import Enum
from typing import cast

from sseproxy.http1.disconnects import DisconnectWatch


class Pause(Enum):
    """Why a connection is not read. Each has a user of its own, who ends only what it has begun."""

    QUEUE = "there is another request behind the one under way"
    CONTENT = "a body comes faster than it is taken"
    TAIL = "it is not known yet what the bytes behind a request are"
    RAW = "another protocol's bytes come faster than they are taken"


class ReadingPauses:
    """The pauses in reading one client connection. holding: why it is not read now; empty while it is read.

    Made when reading pauses for the first time. on_disconnect: called when the client has left during a pause.
    """

    # A connection that is paused is in `disconnects`, because an event loop notices the end of a connection only by
    # reading. In a tunnel all that was sent before an end has to arrive, so there only a reset is reported.

    __slots__ = ("_disconnects", "_fd", "_on_disconnect", "_transport", "holding")

    def __init__(
        self, transport: asyncio.Transport, disconnects: DisconnectWatch, on_disconnect: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._disconnects = disconnects
        self._on_disconnect = on_disconnect
        self.holding: set[Pause] = set()
        self._fd = -1

    def begin(self, why: Pause) -> None:
        """Do not read for this reason, beside others that hold. Calling it again is allowed."""
        was_reading = not self.holding
        self.holding.add(why)
        if was_reading and not self._transport.is_closing():
            self._transport.pause_reading()
            sock = cast("socket.socket | None", self._transport.get_extra_info("socket"))
            if sock is not None and self._fd < 0:
                self._fd = sock.fileno()
                self._disconnects.add(self._fd, self._on_disconnect, is_heard_out=why is Pause.RAW)

    def end(self, why: Pause) -> None:
        """Let this reason hold no longer, if it did. Reading goes on when no other is left."""
        if why in self.holding:
            self.holding.discard(why)
            self._go_on()

    def end_all(self) -> None:
        """Read again, whatever the reasons for the pause."""
        if self.holding:
            self.holding.clear()
            self._go_on()

    def close(self) -> None:
        """Watch the connection no more: it is closed."""
        if self._fd >= 0:
            self._disconnects.remove(self._fd)
            self._fd = -1

    def _go_on(self) -> None:
        if not self.holding and not self._transport.is_closing():
            self.close()
            self._transport.resume_reading()
