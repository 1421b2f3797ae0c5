"""Which events of an upstream that goes on are those that it has sent before?"""

from collections.abc import Sequence

from sseproxy.core.journal.cutter import Cut
from sseproxy.core.journal.run import RunHead, RunState
from sseproxy.core.journal.window import Window


class Feed:
    """A run, and what an upstream sends to it: events by their ids, in pieces."""

    def __init__(self) -> None:
        self.state = RunState(b"AAAAAAAAAAA", Window((1, 0)))
        self.state.opened(RunHead(200, b"OK", []))

    def send(self, *own_ids: bytes) -> Sequence[bytes]:
        """Return the events that are taken, in what they say of themselves."""
        text = b"".join(b"id: %b\ndata: %b\n\n" % (own_id, own_id) for own_id in own_ids)
        blocks = self.state.take(Cut(len(own_ids), text, list(enumerate(own_ids))))
        for block in blocks:
            self.state.window.append(block, now=0.0)
        return [line[6:] for block in blocks for line in block.text.split(b"\n") if line.startswith(b"data: ")]

    def goes_on(self) -> None:
        self.state.broken()
        assert self.state.resumed() is None


def test_what_comes_again_is_dropped() -> None:
    feed = Feed()
    feed.send(b"1", b"2", b"3")
    feed.goes_on()
    assert feed.send(b"3", b"4") == [b"4"]
    assert feed.send(b"5") == [b"5"]


def test_all_may_come_again_in_any_pieces() -> None:
    feed = Feed()
    feed.send(b"1", b"2", b"3")
    feed.goes_on()
    assert [feed.send(b"1"), feed.send(b"2", b"3"), feed.send(b"4", b"5")] == [[], [], [b"4", b"5"]]


def test_where_ids_occur_again_nothing_is_dropped() -> None:
    """An event with a known id may be a new one: rather twice than not at all."""
    feed = Feed()
    feed.send(b"x", b"y", b"x")
    feed.goes_on()
    assert feed.send(b"y", b"z") == [b"y", b"z"]


def test_what_was_dropped_does_not_count_as_an_id_that_occurs_again() -> None:
    feed = Feed()
    feed.send(b"1", b"2")
    for own_id in (b"3", b"4"):
        feed.goes_on()
        assert feed.send(b"1", b"2", *([b"3"] if own_id == b"4" else []), own_id) == [own_id]
