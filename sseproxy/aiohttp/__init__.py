"""The middleware for apps that are aiohttp themselves: the same engine as the proxy's and the ASGI middleware's."""

from sseproxy.aiohttp.middleware import SSEKeepalive, sse_keepalive
from sseproxy.asgi.errors import StreamAborted

__all__ = ["SSEKeepalive", "StreamAborted", "sse_keepalive"]
