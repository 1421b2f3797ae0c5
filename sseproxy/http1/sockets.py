"""What is set on the socket of a connection, and what does the kernel know of it?"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Iterator
from typing import Any

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time

_KEEPALIVE_IDLE = 60  # seconds of silence before the kernel asks whether the upstream is still there

_BYTES = struct.Struct("=120xQQ")  # where struct tcp_info of Linux 4.1 and later has tcpi_bytes_acked and _received


def probe_in_silence(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out when the upstream's machine has vanished without a word."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)


def reset_when_closed(transport: asyncio.BaseTransport) -> None:
    """End the connection with a reset, which does not queue behind bytes that the other side does not take."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:  # else it is closed
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def has_unread(sock: socket.socket | None) -> bool:
    """True if the kernel has bytes of the other side that the process has not read."""
    if sock is None:
        return False
    try:
        answer: bytes = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0")
    except (OSError, ValueError):  # ValueError: the socket is closed, and its descriptor is -1
        return False
    return any(answer)


def accept_waiting(listener: socket.socket) -> Iterator[tuple[socket.socket, Any]]:
    """Accept the connections that wait in the queue of a socket, with their addresses. The socket must not block."""
    while True:
        try:
            sock, address = listener.accept()
        except ConnectionAbortedError:
            continue
        except OSError:  # mostly BlockingIOError: the queue is empty
            return
        sock.setblocking(False)
        yield sock, address


def unacknowledged(sock: socket.socket | None) -> int:
    """Return the bytes that the kernel keeps because they were not acknowledged yet; 0 if it does not tell."""
    if sock is None or sock.family == socket.AF_UNIX:
        return 0
    try:
        answer: bytes = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError):  # as above
        return 0
    return int(struct.unpack("i", answer)[0])


def acknowledged(sock: socket.socket | None) -> int | None:
    """Return the bytes that were acknowledged since the connection was made.

    ``None`` if none are outstanding, or the kernel does not count them. Hazard: gVisor fills in few fields of the
    struct, and the others are zero for ever. But a request has been received.
    """
    if sock is None or not unacknowledged(sock):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES.size)
    except (AttributeError, OSError, ValueError):
        return None
    count, received = _BYTES.unpack(info) if len(info) == _BYTES.size else (0, 0)
    return count if received else None
