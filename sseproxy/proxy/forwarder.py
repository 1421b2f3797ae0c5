"""Who serves a request along its route: an upstream, or Redis?"""

from collections.abc import Mapping

from sseproxy.core.routes import Route
from sseproxy.origins.http import HttpOrigin
from sseproxy.origins.redis.origin import RedisOrigin
from sseproxy.proxy.eventsource.end_signer import EndSigner
from sseproxy.proxy.forward import Forwarding
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.subscribe import Subscribing
from sseproxy.proxy.tail import ResponseTail


class Forwarder:
    """Sends requests along their routes.

    origins, redis: by the name of the route, each route has one of them. end_key: what the ends of streams are signed
    with. instance: the name of this proxy in ``Via``.
    """

    def __init__(
        self,
        origins: Mapping[str, HttpOrigin],
        redis: Mapping[str, RedisOrigin],
        *,
        end_key: bytes,
        instance: bytes,
    ) -> None:
        self._origins = origins
        self._redis = redis
        self._ends = EndSigner(end_key)
        self._instance = instance

    async def serve(self, request: ClientRequest, route: Route, tail: ResponseTail) -> None:
        """Send a request, and wait for the end of its response. Raises `SSEProxyError`."""
        forwarding = self.forwarding(request, route, tail)
        del request
        await forwarding.start()
        del forwarding  # a stream may go on for hours
        await tail.wait()

    def forwarding(self, request: ClientRequest, route: Route, tail: ResponseTail) -> Forwarding | Subscribing:
        """Return what serves a request, for a caller that has more to do than to wait."""
        if route.redis is not None:
            return Subscribing(request, route, self._redis[route.name], tail)
        return Forwarding(request, route, self._origins[route.name], tail, ends=self._ends, via=self._instance)
