"""What do the routes of a configuration lead to, in one process?"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sseproxy.core.routes import Route
from sseproxy.origins.http import HttpOrigin
from sseproxy.origins.pools import PoolGroup
from sseproxy.proxy.origins import Origins
from sseproxy.timers import Clock

if TYPE_CHECKING:
    from sseproxy.origins.redis.origin import RedisOrigin


def new_origins(routes: Sequence[Route], redis: "Mapping[str, RedisOrigin]", clock: Clock) -> Origins:
    """Make what serves each route. redis: by the route's name. All upstreams make room for each other's connections."""
    new = partial(HttpOrigin, clock=clock, group=PoolGroup())
    return Origins(
        {route.name: new(route.upstream) for route in routes if route.upstream is not None},
        redis,
        {route.name: new(route.authorize.upstream) for route in routes if route.authorize is not None},
    )
