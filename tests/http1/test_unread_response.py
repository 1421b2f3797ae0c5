"""Does a client hear why its upload was refused, although the upstream has reset the connection?"""

import asyncio
import socket
import struct

import pytest

from sseproxy.core.errors import OriginError
from sseproxy.http1.client import UpstreamConnection
from sseproxy.http1.messages import ResponseHead
from tests.support.inside import run_on
from tests.support.settled import eventually

REFUSAL = b"HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"


class _Heard:
    """All that a connection has said."""

    def __init__(self) -> None:
        self.heads: list[ResponseHead] = []
        self.data = b""
        self.ends: list[OriginError | None] = []

    def responded(self, head: ResponseHead) -> None:
        self.heads.append(head)

    def body(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        self.ends.append(None)

    def failed(self, error: OriginError) -> None:
        self.ends.append(error)

    def rest(self) -> None:
        """Never so much."""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("body", [b"big", b"bi", None])
def test_what_was_said_before_a_reset_is_heard(loop: str, body: bytes | None) -> None:
    """The write that fails comes first here: nothing is read from the connection by its transport."""

    async def test() -> None:
        running = asyncio.get_running_loop()
        heard = _Heard()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            _, connection = await running.create_connection(
                lambda: UpstreamConnection(running), *listener.getsockname()
            )
            upstream, _ = listener.accept()
            connection.expect_response(heard, to_head=False)
            assert connection.transport is not None
            connection.transport.pause_reading()
            with upstream:
                if body is not None:
                    upstream.sendall(REFUSAL + body)
                upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await eventually(lambda: _write(connection))
        assert [head.status for head in heard.heads] == ([] if body is None else [413])
        assert heard.data == (body or b"")
        assert [end is None for end in heard.ends] == [body == b"big"]

    run_on(loop, test)


def _write(connection: UpstreamConnection) -> bool:
    """Whether it cannot be done any more."""
    if connection.transport is not None:
        connection.transport.write(b"more")
    return connection.transport is None
