"""Who serves a request along its route: an upstream, or Redis?"""

from sseproxy.core.routes import Route
from sseproxy.proxy.eventsource.route_ends import RouteEnds
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.subscribe import Subscribing
from sseproxy.proxy.tail import ResponseTail

#: A request on its way to what serves it.
OnItsWay = Forwarding | Subscribing


class Forwarder:
    """Sends requests along their routes.

    end_key: what the ends of streams are signed with. instance: the name of this proxy in ``Via``.
    """

    def __init__(self, origins: Origins, *, end_key: bytes, instance: bytes) -> None:
        self._origins = origins
        self._ends = RouteEnds(end_key)
        self._instance = instance

    async def serve(self, request: ClientRequest, route: Route, tail: ResponseTail) -> None:
        """Send a request, and wait for the end of its response. Raises `SSEProxyError`."""
        forwarding = self.forwarding(request, route, tail)
        del request
        await forwarding.start()
        del forwarding  # a stream may go on for hours
        await tail.wait()

    def forwarding(self, request: ClientRequest, route: Route, tail: ResponseTail) -> OnItsWay:
        """Return what serves a request, for a caller that has more to do than to wait."""
        if route.redis is not None:
            return Subscribing(request, route, self._origins.redis[route.name], tail)
        return Forwarding(
            request, route, self._origins.upstreams[route.name], tail, ends=self._ends, via=self._instance
        )
