"""Where do the routes of a proxy lead, and whom do they ask?"""

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from sseproxy.core.frozen import frozen
from sseproxy.core.routes import Upstream
from sseproxy.origins.http import HttpOrigin

if TYPE_CHECKING:
    from sseproxy.origins.redis.origin import RedisOrigin


@frozen
class Origins:
    """What serves the routes of one configuration, and what is asked about their requests.

    upstreams, authorizers: by what they are, and not by the route, whose name another configuration may give to
    another. redis: by URL.
    """

    upstreams: Mapping[Upstream, HttpOrigin] = field(default_factory=dict)
    redis: "Mapping[str, RedisOrigin]" = field(default_factory=dict)
    authorizers: Mapping[Upstream, HttpOrigin] = field(default_factory=dict)

    def retire_all_but(self, others: "Origins") -> None:
        """Keep no unused connection to what is not among `others`. Requests under way go on."""
        kept = {*others.upstreams.values(), *others.authorizers.values()}
        for origin in {*self.upstreams.values(), *self.authorizers.values()} - kept:
            origin.retire()

    def drain(self) -> None:
        """Let no request wait for a service that is away."""
        for origin in (*self.upstreams.values(), *self.authorizers.values()):
            origin.drain()

    async def close(self) -> None:
        """Close the connections to all upstreams and services, and all that follows Redis."""
        for origin in (*self.upstreams.values(), *self.authorizers.values()):
            await origin.close()
        for redis in set(self.redis.values()):
            await redis.close()
