"""A sink whose events may go past it, and that checks how they are counted."""

from sseproxy.core.flow import Bypass
from sseproxy.core.stream.events import LOOK
from sseproxy.core.stream.tally import Sum, Tally


class Bypassed:
    """A mixin for an `EventSink`. What goes past it gets to `receive_data` all the same."""

    # Class attributes, since some of those who mix this in are dataclasses.
    _bypass: Bypass | None = None
    _may_have_ids = False
    _past: tuple[bytes, ...] = ()  # and is not counted yet

    def receive_data(self, data: bytes) -> None:
        raise NotImplementedError

    def open_bypass(self, bypass: Bypass, tally: Tally) -> "Bypassed":
        assert self._bypass is None, "two ways past one sink"
        self._bypass, self._may_have_ids, self._past = bypass, tally.may_have_ids, ()
        return self

    def write(self, data: bytes) -> None:
        assert self._bypass is not None, "something goes past a sink that does not know of it"
        assert data, "an empty chunk is the end of a body"
        assert LOOK.lines(data) >= data.count(b"\n\n"), "an event without data goes past"
        assert self._may_have_ids or not LOOK.may_have_id(data), "an id goes past"
        self._past += (data,)
        self.receive_data(data)

    def close_bypass(self) -> None:
        bypass, self._bypass = self._bypass, None
        if bypass is not None:
            self._compare(bypass.end_bypass())

    def look(self) -> None:
        """Look at what it got so far, as a page of metrics does."""
        if self._bypass is not None:
            self._compare(self._bypass.passed())

    def _compare(self, passed: Sum | None) -> None:
        past, self._past = self._past, ()
        counted = (0, 0, b"") if passed is None else (passed.size, passed.events, passed.newest)
        assert counted == (len(b"".join(past)), sum(map(LOOK.lines, past)), past[-1] if past else b"")

    def receives(self) -> None:
        """To be called where something comes that did not go past."""
        assert self._bypass is None, "something comes the other way, too"
