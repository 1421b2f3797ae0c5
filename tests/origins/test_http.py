"""What does an exchange do with an upstream that speaks in the very moment in which nobody waits any more?"""

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from sseproxy.core.routes import Upstream
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.messages import OriginRequest
from sseproxy.origins.http import HttpOrigin
from tests.support.inside import run_on

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("last_words", [OK, b""], ids=["an answer", "a close"])
def test_a_request_that_is_called_off_while_the_upstream_speaks(loop: str, last_words: bytes) -> None:
    """uvloop reads between the cancellation and the task's knowing of it: this must break nothing, and be no news."""

    async def test() -> None:
        faults: list[dict[str, Any]] = []
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, fault: faults.append(fault))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            origin = HttpOrigin(Upstream(scheme="http", host="127.0.0.1", port=listener.getsockname()[1]))
            opening = asyncio.create_task(origin.open(OriginRequest("GET", "/", []), TimeoutPolicy()))
            peer, _ = await running.sock_accept(listener)
            with peer:
                peer.setblocking(False)
                await running.sock_recv(peer, 1024)
                peer.send(last_words)
                if not last_words:
                    peer.shutdown(socket.SHUT_WR)
                opening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await opening
                for _ in range(3):
                    await asyncio.sleep(0)
            assert opening.cancelled()
            assert origin.pool.leased == 0
            await origin.close()
        assert faults == []

    run_on(loop, test)
