"""When is the upstream of a feed asked again that has broken off, and when is it given up?"""

import re
from collections.abc import Callable
from typing import Final

from sseproxy.core.http.fields import Headers, get
from sseproxy.core.journal.window import Window

#: Seconds between two attempts.
_LEAST: Final = 1.0
_MOST: Final = 30.0

#: Seconds after which a connection counts as a good one: all attempts are there again.
_GOOD_AFTER: Final = 60.0

_RETRY: Final = re.compile(rb"(?:\A|\n)retry: ?([0-9]{1,9})(?=\n)")

#: Answers that may be others a little later (RFC 9110 section 15.5.9, RFC 8470 section 5.2, RFC 6585 section 4).
_PASSING: Final = frozenset((408, 425, 429))


class Reopening:
    """The attempts to reach one upstream again. most: so many in a row. chance: numbers from 0 to 1."""

    def __init__(self, most: int, chance: Callable[[], float]) -> None:
        self._most = self._left = most
        self._chance = chance
        self._opened_at: float | None = None
        self._asked_for: float | None = None  # seconds, by ``Retry-After``

    def renew(self) -> None:
        """A reader has come: all attempts are there again."""
        self._left = self._most

    def note_success(self, now: float) -> None:
        """The upstream has answered with its stream. now: seconds."""
        self._opened_at = now
        self._asked_for = None

    def note_refusal(self, headers: Headers) -> None:
        """The upstream has answered with something else for now."""
        value = get(headers, b"retry-after")
        if value is not None and value.isdigit() and len(value) < 10:
            self._asked_for = float(value)

    def next_delay(self, *, now: float, window: Window) -> float | None:
        """Return the seconds until the next attempt; ``None``: there is none. now: seconds.

        window: what the upstream has sent, which may hold a reconnection time.
        """
        if self._opened_at is not None and now - self._opened_at >= _GOOD_AFTER:
            self._left = self._most
        self._opened_at = None
        if not self._left:
            return None
        tried = self._most - self._left
        self._left -= 1
        wanted = _LEAST if self._asked_for is None else self._asked_for
        if (retry := _reconnection_time(window)) is not None:
            wanted = max(wanted, retry)
        # Up to half as long again, so that many processes do not come at once.
        return min(max(wanted * float(1 << tried), _LEAST) * (1 + self._chance() / 2), _MOST)

    @staticmethod
    def is_final(status: int) -> bool:
        """True for an answer with which the upstream ends the feed (WHATWG HTML section 9.2.3 for 204)."""
        return status == 204 or (400 <= status < 500 and status not in _PASSING)


def _reconnection_time(window: Window) -> float | None:
    """Return the last reconnection time among what is kept, in seconds."""
    for entry in reversed(window.after(window.base) or ()):
        if entry.text.find(b"retry") >= 0 and (found := _RETRY.findall(entry.text)):
            return int(found[-1]) / 1000
    return None
