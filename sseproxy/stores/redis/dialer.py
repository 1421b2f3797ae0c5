"""Where is Redis now: at its address, or where Sentinel says that the master is?"""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sseproxy.core.errors import ReplyError
from sseproxy.stores.redis.library import require_redis
from sseproxy.stores.redis.ports import Reply, WireLost, not_ready
from sseproxy.stores.redis.urls import Address, Kind, RedisURL

if TYPE_CHECKING:
    from sseproxy.stores.redis.wire import Wire


class Dialer:
    """Connections to the Redis of one URL. Raises `RedisMissing` if redis-py is not installed."""

    def __init__(self, url: RedisURL, *, timeout: float) -> None:
        """timeout: seconds for a whole dial."""
        require_redis()
        self.url = url
        self.timeout = timeout
        self._sentinels = list(url.hosts)  # the one that answered last is asked first

    async def dial(self, *, protocol: int = 3) -> "Wire":
        """Connect to the server, or to the master that Sentinel names now. Raises `WireLost`."""
        if self.url.kind is not Kind.SENTINEL:
            return await self.dial_at(self.url.hosts[0] if self.url.hosts else None, protocol=protocol)
        try:
            async with asyncio.timeout(self.timeout):
                return await self._dial_master(protocol)
        except TimeoutError:
            raise WireLost("timed out") from None

    async def dial_at(self, address: Address | None, *, protocol: int = 3) -> "Wire":
        """Connect to one node. Raises `WireLost`, also if it is not ready to serve."""
        from sseproxy.stores.redis.wire import Wire  # noqa: PLC0415 - redis-py is imported where it is used

        wire = await Wire.dial(self.url, address, within=self.timeout, protocol=protocol)
        try:
            # One that loads its data, or is frozen, shows by this only: the login does not tell, or there is none.
            reason = not_ready(await ask(wire, "PING", within=self.timeout))
        except BaseException:
            await wire.close()
            raise
        if reason is not None:
            await wire.close()
            raise WireLost(reason)
        return wire

    async def _dial_master(self, protocol: int) -> "Wire":
        """Ask each sentinel in turn; a master must say itself that it is one.

        Until a failover is over, sentinels name the old master, and it may still answer.
        """
        reason = "no sentinel answers"
        for sentinel in list(self._sentinels):
            try:
                address = await self._ask(sentinel)
                wire = await self.dial_at(address, protocol=protocol)
            except WireLost as lost:
                reason = lost.reason
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            try:
                role = await ask(wire, "ROLE", within=self.timeout)
                if isinstance(role, ReplyError) or role[0] == b"master":  # ROLE may be forbidden: trust Sentinel
                    return wire
            except BaseException:
                await wire.close()
                raise
            await wire.close()
            reason = "the sentinels name a master that is none"
        raise WireLost(reason)

    async def _ask(self, sentinel: Address) -> Address:
        from sseproxy.stores.redis.wire import Wire  # noqa: PLC0415 - redis-py is imported where it is used

        options = dict(self.url.options)
        url = dataclasses.replace(
            self.url,
            database=0,
            username=options.get("sentinel_username"),
            password=options.get("sentinel_password"),
        )
        # A part of the whole time: the next sentinel must have some left.
        wire = await Wire.dial(url, sentinel, within=self.timeout / 4)
        try:
            named = await ask(wire, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.url.service, within=self.timeout / 4)
        finally:
            await wire.close()
        if isinstance(named, ReplyError):
            raise WireLost(f"a sentinel refuses with {named.code}")
        if named is None:
            raise WireLost("the sentinels do not know a master of this name")
        return named[0].decode(), int(named[1])


async def ask(wire: "Wire", *command: bytes | str | int, within: float) -> Reply | ReplyError:
    """Send one command and return its reply. Raises `WireLost`."""
    replies: list[Reply | ReplyError] = []
    await wire.exchange([command], replies.append, within=within)
    return replies[0]


def first_in_turn(addresses: Sequence[Address], turn: int) -> list[Address]:
    """Return all addresses, beginning with another one at each turn."""
    start = turn % len(addresses) if addresses else 0
    return [*addresses[start:], *addresses[:start]]
