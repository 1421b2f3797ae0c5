"""What is set on the socket of an upstream connection?"""

import asyncio
import socket
import struct

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time

_KEEPALIVE_IDLE = 60  # seconds of silence before the kernel asks whether the upstream is still there


def probe_in_silence(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out when the upstream's machine has vanished without a word."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)


def reset_when_closed(transport: asyncio.BaseTransport) -> None:
    """End the connection with a reset, which does not queue behind bytes that the upstream does not take."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
