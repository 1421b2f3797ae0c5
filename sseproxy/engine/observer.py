"""Who wants to know what happens to responses on their way, and what do they learn of one?"""

from enum import StrEnum
from typing import Protocol

from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.transfer import CloseReason, TransferStats


class Phase(StrEnum):
    """How far a response is."""

    WAITING = "waiting"  # promised to the client; the upstream has not answered
    OPEN = "open"
    DRAINING = "draining"
    ENDED = "ended"


class ObservedStream(Protocol):
    """One response on its way. It changes while it lives: copy what has to last.

    id: its number in this process. dialect: of an event stream; ``None`` for any other response.
    reason: ``None`` until it has ended.
    """

    @property
    def id(self) -> int: ...
    @property
    def route(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def dialect(self) -> Dialect | None: ...
    @property
    def phase(self) -> Phase: ...
    @property
    def stats(self) -> TransferStats: ...
    @property
    def reason(self) -> CloseReason | None: ...


class Observer(Protocol):
    """Something that follows all responses of a process: a log, metrics, a test. A call must not take long.

    What it raises is logged by the event loop, and goes no further.
    """

    def opened(self, stream: ObservedStream) -> None:
        """A response has begun."""

    def changed(self, stream: ObservedStream) -> None:
        """It has entered another phase, which is not its last one."""

    def ended(self, stream: ObservedStream) -> None:
        """It has ended, for `stream.reason`."""
