"""How does a client learn that a response is broken whose end is the end of its connection? (RFC 9112 section 9.8)"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from sseproxy.http1.sockets import reset_when_closed

_DELIVERY_POLL = 0.02  # seconds between looks at the kernel's send queue
_DELIVERY_LIMIT = 2.0  # seconds after which an undeliverable rest is given up
_READ_GRACE = 0.1  # seconds that a client gets to read what its kernel has acknowledged


async def reset_when_delivered(
    transport: asyncio.Transport, sock: socket.socket, *, unsent: Callable[[], int], linger: float
) -> None:
    """Let the last whole event arrive; when the caller closes the connection behind that, it is reset.

    A reset makes the other side forget what it has not read, so everything must be acknowledged first,
    and its program gets a moment to read. unsent: bytes that are not acknowledged yet. linger: seconds.
    """
    with contextlib.suppress(OSError):
        waited = 0.0
        while unsent() and waited < _DELIVERY_LIMIT:
            await asyncio.sleep(_DELIVERY_POLL)
            waited += _DELIVERY_POLL
        await asyncio.sleep(max(_READ_GRACE, linger))
        if sock.family != socket.AF_UNIX:
            reset_when_closed(transport)
