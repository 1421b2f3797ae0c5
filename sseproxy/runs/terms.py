"""What does a run get from outside: whose it is, what its upstream answers, and what all runs share?"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from sseproxy.core.http.fields import Headers
from sseproxy.core.journal.rules import JournalPolicy
from sseproxy.core.journal.run import RunHead
from sseproxy.core.limits import LimitPolicy
from sseproxy.engine.relay import Relay
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.origins.http import HttpExchange
from sseproxy.runs.budget import RunBudget
from sseproxy.stores.journal import JournalStore
from sseproxy.timers import Clock


@dataclass(frozen=True, slots=True)
class Belonging:
    """To which stream, and to which login, a run belongs; and whose a request is, in the same terms.

    route: its name. scope: the digest of route, login and key. login: the digest of route and login, which is all
    that is asked for where the name of the run is the key. owner: the digest by which `limits.detached_per_client`
    counts: that of the login, or, without one, of the address. limits: of the route.
    """

    route: str
    policy: JournalPolicy
    limits: LimitPolicy
    scope: bytes
    login: bytes
    owner: bytes


@dataclass(frozen=True, slots=True)
class ResponseCopy:
    """The beginning of a response that is no stream, for several clients. is_whole: there is no more of it."""

    status: int
    reason: bytes
    fields: Headers = field(repr=False)
    body: bytes = field(repr=False)
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Opened:
    """What an upstream has answered.

    head: what readers get of it; ``None`` if it is no stream that can be kept. connect: lets its body flow into a
    relay. copy: reads the beginning of a response that is no stream.
    """

    exchange: HttpExchange
    head: RunHead | None
    connect: Callable[[Relay], None]
    copy: Callable[[], Awaitable[ResponseCopy]]


#: Asks the upstream, from behind the id that it has given to an event, if it has given one.
OpenUpstream: TypeAlias = Callable[[bytes | None], Awaitable[Opened]]


class Surroundings(Protocol):
    """What all runs of a process share. chance: gives numbers from 0 to 1."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    store: JournalStore
    catching_up: CatchingUp
    budget: RunBudget
    chance: Callable[[], float]

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do `work` in a task of its own."""
