"""What is written down about each request?"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from sseproxy.core.eventsource.ticket_ids import masked
from sseproxy.core.routes import logged_path
from sseproxy.core.stream.transfer import TransferStats
from sseproxy.logs import ACCESS_LOGGER


@dataclass(slots=True)
class AccessRecord:
    """One request, from its first byte to the end of its response.

    peer: who connected; client: who is behind it, as far as trusted proxies tell.
    target: as the client sent it, with all its secrets; only its path is logged.
    status: what the client got; intended: what it would have got had the head not been sent before the response.
    Times are the event loop's, in seconds.
    """

    peer: str
    method: str
    target: str = field(repr=False)
    started_at: float
    client: str | None = None
    route: str = "-"
    status: int | None = None
    intended: int | None = None
    reason: str = "-"
    error: str | None = None
    ended_at: float = 0.0
    stats: TransferStats | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """Without the query and ids of tickets, which are secrets."""
        return masked(logged_path(self.target))

    def fields(self) -> dict[str, object]:
        """All that is logged, by name; what is not known is left out."""
        values: dict[str, object] = {
            "peer": self.peer,
            "client": self.client if self.client != self.peer else None,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "intended": self.intended if self.intended != self.status else None,
            "route": self.route,
            "reason": self.reason,
            "seconds": round(self.ended_at - self.started_at, 3),
        }
        if (stats := self.stats) is not None:
            first = stats.first_byte_at
            values |= {
                "first_byte": None if first is None else round(first - self.started_at, 3),
                "longest_silence": round(stats.longest_silence, 3),
                "events": stats.events,
                "bytes": stats.bytes_out,
                "heartbeats": stats.heartbeats,
                "heartbeats_skipped": sum(stats.heartbeats_skipped.values()) or None,
            }
        values["error"] = self.error
        return {name: value for name, value in values.items() if value is not None}


class AccessLog:
    """Writes one line for each request when it ends, and at level debug one when a stream begins."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(ACCESS_LOGGER)

    def started(self, record: AccessRecord) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug("start %s", _pairs({"peer": record.peer, "path": record.path, "route": record.route}))

    def ended(self, record: AccessRecord) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            fields = record.fields()
            self._logger.info("%s", _pairs(fields), extra={"fields": fields})


def _pairs(fields: Mapping[str, object]) -> str:
    """Write ``name=value`` for each; a value that a parser could misread is quoted as in JSON."""
    pairs = []
    for name, value in fields.items():
        text = str(value)
        is_plain = text and text.isascii() and text.isprintable() and not any(char in ' "=' for char in text)
        pairs.append(f"{name}={text if is_plain else json.dumps(text)}")
    return " ".join(pairs)
