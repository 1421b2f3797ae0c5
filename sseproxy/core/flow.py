"""How do the parts on a body's way talk to one another? Synchronously, and each only to its neighbours."""

from typing import Protocol

from sseproxy.core.errors import OriginError
from sseproxy.core.stream.tally import Sum, Tally


class BodySink(Protocol):
    """Takes a response body, piece by piece, in the call stack in which it was read."""

    def receive_data(self, data: bytes) -> None: ...

    def receive_eof(self) -> None: ...

    def receive_error(self, error: OriginError) -> None: ...


class EventSink(BodySink, Protocol):
    """Takes an event stream from where it is kept as whole events."""

    def receive_events(self, data: bytes, events: int, now: float) -> None:
        """Take `events` whole events in canonical form: LF, and one blank line behind each. now: of the event loop."""

    def open_bypass(self, bypass: "Bypass", tally: Tally) -> "Writable | None":
        """Let pieces of `tally` go straight to the client, to what is returned; ``None`` if each has to be looked at.

        The sink asks `bypass` what went past when its figures are read, and ends it before it does anything by itself.
        """

    def close_bypass(self) -> None:
        """End the bypass, if there is one. The source has to call this before the sink receives anything else."""


class Bypass(Protocol):
    """Hands pieces to a client past the sink that would count them."""

    def passed(self) -> Sum | None:
        """Return what went past since the last call; ``None`` if that is nothing. The sink counts it."""

    def end_bypass(self) -> Sum | None:
        """The same, and nothing goes past from now on."""


class Writable(Protocol):
    """The client's side of a body."""

    def write(self, data: bytes) -> None:
        """Send `data` now; what the network does not take is kept."""


class BodySource(Protocol):
    """The other end of a `BodySink`: where the body comes from."""

    def pause(self) -> None:
        """Stop reading. Calling it again is allowed."""

    def resume(self) -> None:
        """Go on reading. Calling it again is allowed."""

    def abort(self) -> None:
        """Close the connection now, whatever it is doing. Calling it again is allowed."""


class FlowListener(Protocol):
    """Hears how a client takes what is written."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self) -> None: ...
