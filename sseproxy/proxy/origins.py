"""Where do the routes of a proxy lead, and whom do they ask?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sseproxy.origins.http import HttpOrigin

if TYPE_CHECKING:
    from sseproxy.origins.redis.origin import RedisOrigin


@dataclass(frozen=True, slots=True)
class Origins:
    """What serves each route, and what is asked about its requests, by the route's name.

    upstreams, redis: each route has one of them. authorizers: the services that `authorize` asks.
    """

    upstreams: Mapping[str, HttpOrigin] = field(default_factory=dict)
    redis: "Mapping[str, RedisOrigin]" = field(default_factory=dict)
    authorizers: Mapping[str, HttpOrigin] = field(default_factory=dict)

    async def close(self) -> None:
        """Close the connections to all upstreams and services, and all that follows Redis."""
        for origin in (*self.upstreams.values(), *self.authorizers.values()):
            await origin.close()
        for redis in set(self.redis.values()):
            await redis.close()
