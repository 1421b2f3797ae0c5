"""Does each reader get exactly what is behind its mark, whatever readers, producers and the store do meanwhile?"""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sseproxy.core.journal.cursor import PLAIN, Flavour
from sseproxy.core.journal.positions import Mark, read_position
from tests.support.journal_stand import Client, Has, Stand
from tests.support.virtual_clock import VirtualLoop

Action = tuple[str, int, int]
Past = tuple[int, int]

#: Weighted by how often they are drawn.
ACTIONS = [
    "emit", "emit", "emit", "follow", "follow", "follow", "append only", "lose", "turn", "turn", "turns", "join",
    "join", "join latest", "join earlier", "resume elsewhere", "pause", "pause", "resume", "resume", "abort",
    "pause within", "blink within", "abort within", "fail within", "publish within", "trim store", "shrink", "away",
    "back", "slow", "block", "block",
]  # fmt: skip

actions = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 7), st.integers(0, 7)), min_size=5, max_size=80)
crowds = st.integers(0, 6)
#: How many events there are before the first client, more than a window keeps, and how many the window has not seen.
pasts = st.tuples(st.integers(0, 12), st.integers(0, 3))
stands = st.lists(st.sampled_from([Has.STORE, Has.STORE, Has.NOTHING]), min_size=1, max_size=2)

#: What is seldom drawn. First: a page ends behind the window, and its first chunk where the window does.
#: Second: a store is away when it is asked.
RARE: list[tuple[list[Has], Past, int, list[Action]]] = [
    ([Has.STORE], (8, 2), 0, [("join earlier", 0, 6)]),
    ([Has.STORE], (8, 0), 0, [("away", 0, 0), ("join earlier", 0, 7)]),
]


class _Run:
    def __init__(self, has: list[Has], past: Past, crowd: int) -> None:
        self.stand = Stand(has)
        seen, unseen = past
        for stream in self.stand.streams:
            for _ in range(seen):
                stream.emit(0)
            stream.follow()
            for _ in range(unseen):
                stream.emit(0)
        for number in range(crowd):
            self.join("join latest", 2 + number % 2, number)

    async def act(self, name: str, one: int, other: int) -> None:  # noqa: C901, PLR0912 - a table
        stand = self.stand
        stream = stand.streams[one % len(stand.streams)]
        client = stand.clients[one % len(stand.clients)] if stand.clients else None
        match name:
            case "emit":
                for _ in range(1 + other % 4):
                    stream.emit(other % 3)
            case "follow":
                stream.follow()
            case "append only":
                stream.follow(publish=False)
            case "lose":
                stream.emit(other % 3, is_lost=True)
                stream.emit(1)
            case "turn" | "turns":
                await stand.turns(1 if name == "turn" else other)
            case "join" | "join latest" | "join earlier":
                self.join(name, one, other)
            case "trim store":
                del stream.kept[: max(len(stream.kept) - other, 0)]
            case "shrink":
                stream.fanout.shrink()
            case "away" | "back":
                stream.is_away = name == "away"
            case "slow":
                stream.delay = other
            case "block" if stream.has is Has.NOTHING:
                stream.follow(publish=False)
                stream.append_block(1 + other % 4)
                stream.fanout.publish()
        if client is not None:
            self.act_as_client(client, name, other)

    def join(self, name: str, one: int, other: int) -> None:
        stand = self.stand
        numbers = list(range(len(stand.streams))) if one % 2 else [other % len(stand.streams)]
        begin: list[Mark] = []
        for number in numbers:
            stream = stand.streams[number]
            known = [mark for mark in stream.emitted if stream.window.base <= mark <= stream.window.top]
            known = [stream.window.base, *known, stream.window.top]
            if name == "join earlier" and stream.has is Has.STORE:
                known = [(0, 0), *stream.emitted][::-1]  # also what this process has not seen yet
            begin.append(known[-1] if name == "join latest" else known[other % len(known)])
        flavour = PLAIN if one == 6 else Flavour()
        stand.join(begin, numbers, flavour=flavour, has_primer=other % 2 == 1 and flavour is not PLAIN)

    def act_as_client(self, client: Client, name: str, other: int) -> None:
        reader = client.reader

        def blink() -> None:
            client.pause()
            client.resume()

        def fail() -> None:
            raise _Defect

        within: dict[str, Callable[[], None]] = {
            "pause within": client.pause,
            "blink within": blink,
            "abort within": reader.abort,
            "fail within": fail,
            "publish within": client.streams[0].fanout.publish,
        }
        if name in within:
            client.within = within[name]
        elif name == "pause":
            client.pause()
        elif name == "resume":
            client.resume()
        elif name == "abort":
            reader.abort()
        elif name == "resume elsewhere" and client.flavour.has_ids:
            self.resume_elsewhere(client, other)

    def resume_elsewhere(self, client: Client, other: int) -> None:
        """A client comes back with any of the ids that it got, and must get the rest again."""
        marks = read_position(client.ids[-1 - other % len(client.ids)], len(client.marks))
        assert marks is not None
        self.stand.join(list(marks), [stream.number for stream in client.streams])


class _Defect(Exception):
    """A sink that fails."""


async def _all_is_handed_out(has: list[Has], past: Past, crowd: int, actions: list[Action]) -> None:
    run = _Run(has, past, crowd)
    for action in actions:
        await run.act(*action)
    await run.stand.settle()
    assert [defect for defect in run.stand.defects if not isinstance(defect, _Defect)] == []
    for client in run.stand.clients:
        client.check_at_the_end()
        client.pause()
    for stream in run.stand.streams:
        stream.emit(0)
        stream.follow()
    await run.stand.settle()  # a further pause brings what came meanwhile, and nothing of before
    for client in run.stand.clients:
        client.check_at_the_end()
    run.stand.close()
    assert [len(stream.fanout) for stream in run.stand.streams] == [0] * len(has)
    assert all(client.done == 1 for client in run.stand.clients)


def all_is_handed_out(has: list[Has], past: Past, crowd: int, actions: list[Action]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_all_is_handed_out(has, past, crowd, actions))


def counterexample(examples: int) -> Exception | None:
    """What is found in the rare histories, or within so many examples."""

    @settings(max_examples=examples, phases=(Phase.generate,), report_multiple_bugs=False)
    @given(stands, pasts, crowds, actions)
    def examine(has: list[Has], past: Past, crowd: int, actions: list[Action]) -> None:
        all_is_handed_out(has, past, crowd, actions)

    try:
        for history in RARE:
            all_is_handed_out(*history)
        examine()
    except (AssertionError, IndexError) as found:  # a list that is out of step
        return found
    return None


@pytest.mark.parametrize(("has", "past", "crowd", "actions"), RARE)
def test_all_is_handed_out_in_rare_histories(has: list[Has], past: Past, crowd: int, actions: list[Action]) -> None:
    all_is_handed_out(has, past, crowd, actions)


@settings(max_examples=max(1000, settings().max_examples))
@given(stands, pasts, crowds, actions)
def test_all_is_handed_out(has: list[Has], past: Past, crowd: int, actions: list[Action]) -> None:
    all_is_handed_out(has, past, crowd, actions)
