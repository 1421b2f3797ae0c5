"""How does a test play either end of the proxy byte by byte: what it says, what it hears, and how it leaves?

Everything blocks, with one generous limit, so a test reads in the order in which things happen.
"""

import ctypes
import fcntl
import re
import select
import socket
import struct
import termios
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.patience import LIMIT

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
CHUNKED_STREAM = STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_SO_ATTACH_FILTER = 26  # of Linux; the socket module does not know it


def chunk(data: bytes) -> bytes:
    """Return `data` framed as one chunk of a body (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class End(Enum):
    """How the other side has left."""

    CLOSED = "closed"
    RESET = "reset"


class BlockingPeer:
    """One TCP connection, closed when nobody knows it any more. received: what has come and was not asked for yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        weakref.finalize(self, sock.close)
        self.received = bytearray()
        sock.settimeout(LIMIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Speaking.

    def send(self, data: bytes) -> None:
        """Send all of `data`. TimeoutError: the other side takes nothing."""
        self.socket.sendall(data)

    def send_until_stuck(self, data: bytes, *, patience: float = 1.0) -> int:
        """Send `data` again and again until nothing is taken for `patience` seconds, or the other side has left.

        Returns how much was taken.
        """
        taken = 0
        self.socket.settimeout(patience)
        try:
            while True:
                taken += self.socket.send(data[taken % len(data) :])
        except (TimeoutError, ConnectionError):
            return taken
        finally:
            self.socket.settimeout(LIMIT)

    def vanish(self) -> None:
        """Hear nothing any more, not even in the kernel, and so acknowledge nothing: as if the cable were cut."""
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # classic BPF: return 0
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop_all)))

    # Listening.

    def read_until(self, mark: bytes) -> bytes:
        """All up to and with `mark`. AssertionError: the other side left before."""
        while mark not in self.received:
            assert self._read() is None, f"{mark!r} is not in {bytes(self.received)!r}"
        return self._take(self.received.index(mark) + len(mark))

    def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes. AssertionError: the other side left before."""
        while len(self.received) < size:
            assert self._read() is None, f"{size} bytes wanted, {len(self.received)} came"
        return self._take(size)

    def read_to_end(self) -> tuple[bytes, End]:
        """Everything until the other side leaves, and how it leaves."""
        while (end := self._read()) is None:
            pass
        return self._take(len(self.received)), end

    def seconds_until_gone(self, since: float) -> float:
        """Wait, reading nothing, until the other side has left; how long after `since` (`time.monotonic`) that was."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        assert poll.poll(LIMIT * 1000), "it is still there"
        return time.monotonic() - since

    def expect_silence(self, seconds: float) -> None:
        """AssertionError: the other side says something, or leaves, within `seconds`."""
        assert not self.received
        assert not select.select([self.socket], [], [], seconds)[0]

    def is_open(self) -> bool:
        """Whether the other side is still there, as far as is known by now."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP)
        return not poll.poll(0)

    @property
    def undelivered(self) -> int:
        """Bytes of ours that have not reached the other side's kernel."""
        answer = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0])

    # Leaving.

    def reset(self) -> None:
        """Leave with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Leave in order: a FIN, unless bytes have come that were never read."""
        self.socket.close()

    # Private.

    def _read(self) -> End | None:
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            return End.RESET
        self.received += data
        return None if data else End.CLOSED

    def _take(self, size: int) -> bytes:
        taken = bytes(self.received[:size])
        del self.received[:size]
        return taken


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """The head of a request as it reached the upstream. headers: by lower-case name, the last of each."""

    method: str
    target: str
    headers: Mapping[str, str]


class UpstreamPeer(BlockingPeer):
    """The upstream's end of one connection, after the head of the request was read."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.request = self.read_request()

    def read_request(self) -> RequestSeen:
        """Read the head of the next request."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        return RequestSeen(method, target, _fields(lines[1:]))

    def send_events(self, *events: bytes) -> None:
        """Each in a chunk of its own."""
        self.send(b"".join(chunk(event) for event in events))


class Upstream:
    """A listening socket that the test accepts from. receive_buffer: bytes of SO_RCVBUF of its connections."""

    def __init__(self, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(1024)
        self._socket.settimeout(LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def accept(self) -> UpstreamPeer:
        """The next connection, and the head of its request."""
        return UpstreamPeer(self._socket.accept()[0])

    @property
    def has_visitor(self) -> bool:
        """Whether somebody has connected and was not accepted yet."""
        self._socket.setblocking(False)
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(LIMIT)
        return True


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a response. headers: by lower-case name, the last of each."""

    status: int
    headers: Mapping[str, str]


class ClientPeer(BlockingPeer):
    """The client's end. receive_buffer: bytes of SO_RCVBUF, set before connecting so that the window stays small."""

    def __init__(self, url: str, *, receive_buffer: int | None = None) -> None:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        super().__init__(sock)
        where = urlsplit(url)
        sock.connect((where.hostname, where.port))

    def ask(
        self,
        target: str,
        *,
        method: str = "GET",
        headers: Sequence[str] = (),
        body: bytes | None = None,
        version: str = "1.1",
    ) -> None:
        """Send a request. body: whole, with its length."""
        lines = [f"{method} {target} HTTP/{version}", "Host: example.test", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    def read_head(self) -> Answer:
        """Read the head of the next response."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        return Answer(int(lines[0].split(" ")[1]), _fields(lines[1:]))

    def read_answer(self) -> tuple[Answer, bytes]:
        """A whole response that says its length."""
        answer = self.read_head()
        return answer, self.read_exactly(int(answer.headers["content-length"]))

    def read_chunk(self) -> bytes:
        """The next chunk of the body, the last one is empty."""
        size = int(self.read_until(b"\r\n"), 16)
        return self.read_exactly(size + 2)[:-2]

    def read_body(self) -> "Body":
        """The chunked body until the connection ends or its last chunk has come."""
        data = b""
        while True:
            try:
                piece = self.read_chunk()
            except AssertionError:
                return Body(data, is_whole=False, rest=bytes(self.received))
            if not piece:
                return Body(data, is_whole=True, rest=bytes(self.received))
            data += piece


@dataclass(frozen=True, slots=True)
class Body:
    """What a client got. is_whole: the last chunk came. rest: bytes after the last whole chunk; never any."""

    data: bytes
    is_whole: bool
    rest: bytes

    @property
    def without_comments(self) -> bytes:
        return re.sub(rb": heartbeat\n", b"", self.data)


def _fields(lines: Sequence[str]) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in lines if line)
    return {name.lower(): value.strip() for name, _, value in pairs}
