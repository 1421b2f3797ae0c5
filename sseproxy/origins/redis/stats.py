"""What has happened to the messages of one Redis? Counters, for metrics and tests."""

from collections import Counter
from dataclasses import dataclass, field

from sseproxy.core.journal.gap import GapReason


@dataclass(slots=True)
class RedisStats:
    """Counts only grow.

    messages, entries: read from channels and streams, unreadable ones included. deliveries: live events, counted for
    each of their readers. unreadable: skipped. duplicates: skipped, since their own id had been seen. bells_missed:
    reads of the poll that found what no bell had announced. gaps: by reason; one for each reader that it concerns.
    reconnects: new connections after a lost one.
    """

    messages: int = 0
    deliveries: int = 0
    entries: int = 0
    unreadable: int = 0
    duplicates: int = 0
    bells_missed: int = 0
    reconnects: int = 0
    gaps: Counter[GapReason] = field(default_factory=Counter)
