"""For apps that are aiohttp themselves: a middleware for their own streams, and the reverse proxy as a handler.

`reverse_proxy` is loaded when it is asked for: the middleware needs little of the rest.
"""

from typing import TYPE_CHECKING

from sseproxy.aiohttp.middleware import SSEKeepalive, sse_keepalive
from sseproxy.asgi.errors import StreamAborted

if TYPE_CHECKING:
    from sseproxy.aiohttp.proxy import ProxyHandler, reverse_proxy

__all__ = ["ProxyHandler", "SSEKeepalive", "StreamAborted", "reverse_proxy", "sse_keepalive"]

if not TYPE_CHECKING:  # type checkers would take any name for one that is here

    def __getattr__(name: str) -> object:
        if name in ("ProxyHandler", "reverse_proxy"):
            from sseproxy.aiohttp import proxy  # noqa: PLC0415

            return getattr(proxy, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
