"""How does a middleware break a connection off, where ASGI has no word for it?"""

from sseproxy.core.transfer import CloseReason


class StreamAborted(Exception):
    """A stream ended, and must not look complete. Servers close the connection of an app that raises.

    reason: why, as in the access log of the proxy.
    """

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(f"the event stream was broken off: {reason}")
        self.reason = reason
