"""What do all followers of one Redis have in common?"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import field

from sseproxy.core.errors import ReplyError
from sseproxy.core.frozen import frozen
from sseproxy.core.journal.policy import Format
from sseproxy.journal.budget import WindowBudget
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.origins.redis.formats import Event, Unreadable, event_of_entry, event_of_message
from sseproxy.origins.redis.stats import RedisStats
from sseproxy.stores.redis.link import Link, LinkState
from sseproxy.timers import Clock

log = logging.getLogger(__name__)


#: In place of `Shared.connection`: nothing was read yet, or the connection may have broken since.
NO_CONNECTION = -1


@frozen
class FollowLimits:
    """looks: followers that read at the same time. count: entries in one read. pages: reads in one look.

    linger: seconds for which a stream is followed behind its last reader. retry: seconds before a stream that could
    not be read at first is tried again.
    """

    looks: int = 256
    count: int = 512
    pages: int = 16
    linger: float = 5.0
    retry: float = 5.0


@frozen
class Terms:
    """How messages are read. most: bytes of one event. route: named in the log where a message cannot be read.

    shows_names: the log may also name the stream; a name can hold a cookie.

    Routes whose terms are the same share their followers.
    """

    form: Format
    most: int
    route: str = field(default="redis", compare=False)
    shows_names: bool = field(default=True, compare=False)


class Shared:
    """The tools of all followers of one Redis. connection: a number that each lost connection changes."""

    def __init__(
        self,
        *,
        link: Link,
        stats: RedisStats,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        catching_up: CatchingUp,
        budget: WindowBudget | None,
        limits: FollowLimits,
        chance: Callable[[], float],
    ) -> None:
        self.link, self.stats, self.loop, self.clock = link, stats, loop, clock
        self.catching_up, self.budget, self.limits, self.chance = catching_up, budget, limits, chance
        self.connection = 0
        self.looks = asyncio.Semaphore(limits.looks)
        self._logged: set[tuple[str, bytes]] = set()

    @property
    def is_away(self) -> bool:
        """True if no read can succeed before the next connection; of a cluster some nodes may still be there."""
        return self.link.state is LinkState.AWAY and not self.link.primaries

    def entry_event(self, terms: Terms, fields: Sequence[bytes]) -> Event | None:
        """Return the event of an entry; None if there is none in it, which is counted and logged."""
        self.stats.entries += 1
        try:
            return event_of_entry(terms.form, fields, terms.most)
        except Unreadable as reason:
            self._skip(terms, reason)
            return None

    def message_event(self, terms: Terms, message: bytes) -> Event | None:
        """Return the event of a message; None if it is none, which is counted and logged."""
        self.stats.messages += 1
        try:
            return event_of_message(terms.form, message, terms.most)
        except Unreadable as reason:
            self._skip(terms, reason)
            return None

    def refused(self, terms: Terms, name: bytes, error: ReplyError) -> None:
        """Log, once for each name or route and kind of refusal, that a stream cannot be read."""
        what = {
            "WRONGTYPE": "its key is not a stream",
            "NOPERM": "the user of store.url may not read it",
        }.get(error.code, str(error))
        subject = f"Redis stream {_shown(name)}" if terms.shows_names else f"a Redis stream of route {terms.route}"
        if self._is_first(error.code, subject.encode()):
            log.error("%s: %s; its clients wait", subject, what)

    def _skip(self, terms: Terms, reason: Unreadable) -> None:
        self.stats.unreadable += 1
        if self._is_first("unreadable", terms.route.encode()):
            log.warning(
                "route %s: skipped a message from Redis that is no %s event (%s); further ones are only counted",
                terms.route,
                terms.form.value,
                reason,
            )

    def _is_first(self, what: str, subject: bytes) -> bool:
        if (what, subject) in self._logged or len(self._logged) >= _MOST_LOGGED:
            return False
        self._logged.add((what, subject))
        return True


#: Different complaints that are logged and remembered at most.
_MOST_LOGGED = 1000


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
