"""How does a middleware break a connection off, where ASGI has no word for it, and where can it not work at all?"""

import asyncio

from sseproxy.core.stream.transfer import CloseReason


class StreamAborted(Exception):
    """A stream ended, and must not look complete. Servers close the connection of an app that raises.

    reason: why, as in the access log of the proxy.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(f"the event stream was broken off: {reason}")
        self.reason = reason


def require_asyncio(*, in_another_thread: bool = False) -> None:
    """Raises `RuntimeError` with a clear message where there is no asyncio, or where it runs `in_another_thread`."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if in_another_thread:
            raise RuntimeError(
                "send was called in a thread that is not the event loop's: let the loop call it, as by "
                "anyio.from_thread.run(send, message)"
            ) from None
        raise RuntimeError("sseproxy keeps event streams alive on asyncio only, not on trio") from None
