"""Is the place of an own id always the first one that is kept, also where ids occur again?"""

from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.own_places import OwnPlaces

steps = st.lists(st.tuples(st.sampled_from([b"x", b"y", b"z"]), st.integers(0, 2)), max_size=30)


@given(steps)
def test_the_first_place_that_is_kept_counts(steps: list[tuple[bytes, int]]) -> None:
    places, added, base = OwnPlaces(), list[tuple[bytes, int]](), 0
    for at, (own_id, step) in enumerate(steps, 1):
        places.add(own_id, (1, at))
        added.append((own_id, at))
        base = min(base + step, at)
        places.drop((1, base))
        kept = [(each, at) for each, at in added if at >= base]
        assert list(places) == [(each, (1, at)) for each, at in kept]
        assert len(places) == len(kept)
        for name in (b"x", b"y", b"z"):
            first = next(((1, at) for each, at in kept if each == name), None)
            assert places.first(name) == first
            assert (name in places) is (first is not None)


def test_what_is_dropped_leaves_nothing_behind() -> None:
    places = OwnPlaces()
    for at in range(1, 1000):
        places.add(b"%d" % (at % 7), (1, at))
    places.drop((2, 0))
    assert not places
    assert all(places.first(b"%d" % name) is None for name in range(7))
