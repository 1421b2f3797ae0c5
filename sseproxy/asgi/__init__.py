"""The ASGI middleware: the proxy's engine inside an app. Needs the standard library only."""

from sseproxy.asgi.middleware import SSEKeepaliveMiddleware, StreamAborted

__all__ = ["SSEKeepaliveMiddleware", "StreamAborted"]
