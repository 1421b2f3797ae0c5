"""How does a worker hear of another configuration, and how does its parent see that it still answers?"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable

_LENGTH = struct.Struct("!I")

#: What a worker sends for each message that it has dealt with.
_DONE = b"."

#: A message without content: the worker answers, and does nothing else.
_QUESTION = b""

# A pair of sockets between the parent and each worker. Down go messages, each behind its length: another configuration,
# or nothing at all. Up goes one byte for each that was dealt with.
#
# A worker sends one more at its beginning: until then it is asked nothing.
#
# 1. The parent never waits for a worker: what the socket does not take stays here until the next look.
# 2. Only the newest configuration counts: one that was not begun to be sent gives way to the next.
# 3. A worker that answers has an event loop that turns. Bytes of an answer are worth the same, whatever they answer.


class WorkerChannel:
    """The parent's end. silent_since: when the oldest message was sent that the worker has not dealt with, or None."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.silent_since: float | None = None
        self._sock = sock
        self._begun = b""  # the rest of a message
        self._waiting: deque[bytes] = deque(maxlen=1)
        self._unanswered = 1  # the worker's beginning

    def send(self, message: bytes, *, now: float) -> None:
        """Have `message` sent, now or at one of the next looks. now: in seconds, of one clock."""
        self._waiting.append(message)
        self.look(now=now)

    def ask(self, *, now: float) -> None:
        """Have the worker answer, unless it owes an answer already."""
        if not (self._unanswered or self._waiting):
            self.send(_QUESTION, now=now)

    def look(self, *, now: float) -> None:
        """Take the answers that have come, and send what still waits."""
        with contextlib.suppress(OSError):  # there is none, or the worker has gone: its death is seen elsewhere
            answers = self._sock.recv(4096)
            if answers:
                self._unanswered -= len(answers)
                self.silent_since = now if self._unanswered else None
        with contextlib.suppress(OSError):  # no room
            while self._begun or self._waiting:
                if not self._begun:
                    message = self._waiting.popleft()
                    self._begun = _LENGTH.pack(len(message)) + message
                    self._unanswered += 1
                    self.silent_since = now if self.silent_since is None else self.silent_since
                self._begun = self._begun[self._sock.send(self._begun) :]

    def close(self) -> None:
        """Close this end."""
        self._sock.close()


async def obey(sock: socket.socket, apply: Callable[[bytes], Awaitable[None]]) -> None:
    """At the worker's end: hand each message to `apply`, and answer, until the parent has gone.

    `apply` must not raise.
    """
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    try:
        writer.write(_DONE)
        while True:
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            message = await reader.readexactly(length)
            if message:
                await apply(message)
            writer.write(_DONE)
    except (asyncio.IncompleteReadError, OSError):
        pass  # a process without a parent is asked to end in another way
    finally:
        writer.close()
