"""How does the proxy become an ASGI app, with a lifespan or without one?"""

from typing import Any, Unpack

from sseproxy.proxy.library.embedded import EmbeddedProxy
from sseproxy.proxy.library.options import ProxyOptions
from sseproxy.proxy.on_asgi import AsgiDoor


class ReverseProxy(EmbeddedProxy[AsgiDoor]):
    """The reverse proxy as an ASGI 3 app, to mount in Starlette or FastAPI, or to run on an ASGI server.

    ``ReverseProxy("http://127.0.0.1:9000", heartbeat="15s")``, or ``ReverseProxy(routes=[...])``. The options are those
    of `ProxyOptions`. Raises `TypeError` for one that there is not, and `ValueError` with all that is wrong.

    A response that must not look complete ends by an error, which makes the server break the connection.
    """

    def __init__(self, upstream: str | None = None, **options: Unpack[ProxyOptions]) -> None:
        super().__init__(upstream, options, AsgiDoor)

    # Any, as in `ASGIApp`: servers and frameworks, too, type what they call an app with each in their own way.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.here().door(scope, receive, send)
            return
        # A mounted app gets no lifespan: it begins with its first request.
        for what, act in (("startup", self.start), ("shutdown", self.close)):
            await receive()
            try:
                await act()
            except Exception as error:
                await send({"type": f"lifespan.{what}.failed", "message": f"{type(self).__name__}: {error}"})
                raise
            await send({"type": f"lifespan.{what}.complete"})
