"""What is written for a client at the end of a whole answer, and which end is that?"""

from dataclasses import field
from enum import StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.core.stream.dialects import Dialect, Marker
from sseproxy.core.stream.events import LF, event


class EndsAt(StrEnum):
    """Which clean ends of the upstream are the end for good."""

    END = "end"  # each
    MARKER = "marker"  # those behind the terminal event; after any other the browser may come back


@frozen
class EndPolicy:
    """What `EventSource` clients get at a clean end of the upstream.

    event: name and data of an event that tells the page. stop_reconnect: the browser's automatic reconnect is answered
    204. marker: the service's terminal event. only: which clean ends are meant. secret: what the ids of
    ends are signed with, for replicas that have to know each other's; empty: made up when the process starts.
    """

    event: tuple[str, str] | None = None
    stop_reconnect: bool = False
    marker: Marker | None = None
    only: EndsAt = EndsAt.END
    secret: str = field(default="", repr=False)

    @property
    def does_nothing(self) -> bool:
        """True if no client would notice the policy."""
        return not self.stop_reconnect and self.event is None and self.marker is None

    @property
    def signs_nothing(self) -> bool:
        """True if there is a secret, and no ids that it could sign."""
        return bool(self.secret) and not self.stop_reconnect

    def lacks_marker(self, dialect: Dialect) -> bool:
        """True if only ends behind the terminal event count, and neither the policy nor `dialect` names that event."""
        return self.only is EndsAt.MARKER and self.marker is None and not dialect.is_of_answers


#: The type of an event that is sent for its id only; no page listens for it.
ID_EVENT = "sseproxy-stop"


@frozen
class EndMessage:
    """The last words to one client. event: name and data. id: of this end.

    id_has_event: the id comes with an event of type `ID_EVENT`, for clients that drop an id without data.
    """

    event: tuple[str, str] | None = None
    id: str | None = None
    id_has_event: bool = False

    def write(self, *, eol: bytes = LF) -> bytes:
        """The bytes, for an event boundary. The event comes first: its own last event id is the upstream's."""
        written = b"" if self.event is None else event(self.event[1], name=self.event[0], eol=eol)
        if self.id is None:
            return written
        if self.id_has_event:
            written += event("", name=ID_EVENT, eol=eol).removesuffix(eol)
        return written + b"id: " + self.id.encode() + eol + eol
