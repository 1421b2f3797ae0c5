"""Which events and heartbeats does the probe see in bytes, however they are cut?"""

import gzip
import itertools
import math
import zlib

from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.stream.event_reader import EventReader
from sseproxy.probe.follower import Follower
from sseproxy.probe.script import Act, Script, read_script
from sseproxy.probe.stream import Sign

_STREAM = b": hb\n\ndata: a\nid: 1\n\nevent: ping\ndata: {}\n\n\nevent: x\ndata: b\ndata: c\n\n:\n\r\n"


def seen(data: bytes, size: int, coding: str = "") -> list[tuple[Sign, str]]:
    follower = Follower(coding)
    for at in range(0, len(data), size):
        follower.feed(data[at : at + size], float(at))
    return [(mark.sign, mark.data) for mark in follower.marks]


_EXPECTED = [
    (Sign.HEARTBEAT, ""),
    (Sign.EVENT, "a"),
    (Sign.HEARTBEAT, ""),
    (Sign.HEARTBEAT, ""),
    (Sign.EVENT, "b"),
    (Sign.HEARTBEAT, ""),
]


def test_events_and_heartbeats_at_any_cut() -> None:
    for size in range(1, len(_STREAM) + 1):
        assert seen(_STREAM, size) == _EXPECTED


def test_codings_that_are_undone() -> None:
    for size in (1, 7, 1000):
        assert seen(gzip.compress(_STREAM), size, "gzip") == _EXPECTED
        assert seen(zlib.compress(_STREAM), size, "deflate") == _EXPECTED
    assert seen(b"anything\n\n", 3, "br") == []
    assert seen(b"no gzip at all\n\n", 3, "gzip") == []


@given(
    st.lists(st.sampled_from([b"data: x", b"data", b":c", b"id: 1", b"event: e", b"\n", b"\r", b"\r\n", b""])),
    st.data(),
)
def test_as_many_events_as_the_core_counts(pieces: list[bytes], cuts: st.DataObject) -> None:
    stream = b"".join(pieces)
    follower, reader = Follower(""), EventReader()
    count = 0
    while stream:
        size = cuts.draw(st.integers(1, len(stream)))
        follower.feed(stream[:size], 0.0)
        count += reader.feed(stream[:size], 0.0)
        stream = stream[size:]
    assert sum(mark.sign is Sign.EVENT for mark in follower.marks) == count


@given(
    st.sampled_from(Act),
    st.floats(0, 3600).map(lambda number: float(f"{number:g}")),
    st.floats(0.01, 10).map(lambda number: float(f"{number:g}")),
    st.booleans(),
    st.text("abcdef0123456789", max_size=16),
)
def test_a_script_is_read_as_it_was_written(act: Act, seconds: float, step: float, hints: bool, visit: str) -> None:
    script = Script(act, seconds or 1.0, step, hints=hints, visit=visit)
    assert read_script(str(script)) == script


@given(st.text())
def test_any_text_is_a_script(text: str) -> None:
    script = read_script(text)
    assert 0 <= script.seconds <= 3600
    assert script.step >= 0.01
    assert all(math.isfinite(at) for at in script.times[:100])


def test_known_events_come_a_step_apart_behind_the_lead() -> None:
    times = Script(seconds=90, step=0.5).times
    assert times[:6] == (2.0, 2.5, 3.0, 3.5, 4.0, 4.5)
    assert times[-1] == 90
    assert max(after - before for before, after in itertools.pairwise(times)) <= 5.0
