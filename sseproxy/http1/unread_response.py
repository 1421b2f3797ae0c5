"""What has an upstream answered before it reset the connection?

Hazard: an upstream that refuses an upload, and closes, resets the connection with the next piece of it. The write that
fails is often noticed before the answer has been read, and transports read nothing more after it.
"""

import asyncio
import contextlib
import os

#: Bytes that are read of it: a refusal is short.
_MOST = 64 * 1024


def last_words(transport: asyncio.Transport | None) -> bytes:
    """What is left to read; nothing over TLS, where only the transport could. To be asked before the socket closes."""
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return b""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        return b"" if sock is None else os.read(sock.fileno(), _MOST)
    return b""
