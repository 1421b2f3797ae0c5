"""Is each stream of a worker counted once, and are the rows that a dashboard gets the right ones, and few?"""

import asyncio
import json
from typing import Any

import pytest

from sseproxy.core.stream.plan import StreamPlan
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.process.dashboard.census import MOST_ROWS, OVERVIEW, Census, question
from sseproxy.process.dashboard.view import MOST_TEXT, Order, View
from tests.process.dashboard.streams import Streams


def census_of(worker: Streams) -> Census:
    return Census(worker.live, worker.history, "0-abcd")


async def ask(census: Census, *views: View) -> dict[str, Any]:
    word, _, wanted = question(views).partition(" ")
    assert word == OVERVIEW
    answer: dict[str, Any] = json.loads(await census.answer(wanted))
    return answer


async def test_streams_are_added_up_by_route() -> None:
    worker = Streams()
    worker.open("chat", silence=3, events=2)
    worker.open("chat", silence=70, events=1)
    worker.open("feeds", silence=2000)
    worker.open("files", plan=None)
    worker.end(worker.open("chat", events=4))
    found = await ask(census_of(worker))
    chat, feeds = found["routes"]["chat"], found["routes"]["feeds"]
    assert (chat[:3], feeds[:3]) == ([0, 2, 0], [0, 1, 0])
    assert chat[3] == pytest.approx(70, abs=5)
    assert chat[4:6] == [7, 7 * 9], "those that have ended count, too"
    assert found["others"] == 1
    assert found["silences"] == [0, 1, 0, 0, 1, 0, 1]
    assert found["views"] == []


async def test_the_rows_are_those_with_the_longest_silence_and_no_more_than_fit() -> None:
    worker = Streams()
    opened = {f"0-abcd-{worker.open(silence=number).id}": number for number in range(3 * MOST_ROWS)}
    matched, rows = (await ask(census_of(worker), View()))["views"][0]
    assert matched == 3 * MOST_ROWS
    assert [opened[row["id"]] for row in rows] == list(range(3 * MOST_ROWS))[: -MOST_ROWS - 1 : -1]


@pytest.mark.parametrize(
    ("order", "first"),
    [
        (Order.EVENTS, "talks"),
        (Order.BYTES, "talks"),
        (Order.AGE, "old"),
        (Order.SILENCE, "old"),
        (Order.LIMIT, "talks"),
    ],
)
async def test_the_order_is_the_one_that_was_asked_for(order: Order, first: str) -> None:
    worker = Streams()
    worker.open("old", silence=100, plan=StreamPlan(timeouts=TimeoutPolicy(idle=None)))
    worker.open("talks", silence=1, events=5, plan=StreamPlan(timeouts=TimeoutPolicy(idle=60)))
    assert (await ask(census_of(worker), View(order)))["views"][0][1][0]["route"] == first


@pytest.mark.parametrize(
    ("words", "matched"),
    [
        ("", 3),
        ("chat", 2),
        ("CHAT", 2),
        ("chat 192.0.2.7", 1),
        ("2001:db8::1", 1),
        ("open", 3),
        ("waiting", 0),
        ("/inbox", 1),
        ("generic chat", 2),
        ("token", 0),
        ("<b>", 0),
    ],
)
async def test_a_filter_looks_for_all_of_its_words(words: str, matched: int) -> None:
    worker = Streams()
    worker.open("chat", peer="192.0.2.7", target="/v1?token=hunter2")
    worker.open("chat", peer="192.0.2.8")
    worker.open("feeds", peer="2001:db8::1", target="/Inbox/3")
    view = View.of_query({"filter": words})
    found, rows = (await ask(census_of(worker), view))["views"][0]
    assert found == len(rows) == matched


async def test_several_views_are_answered_at_once() -> None:
    worker = Streams()
    worker.open("chat")
    worker.open("feeds")
    views = [View(), View(words=("feeds",)), View(Order.AGE, ("x y",))]
    found = (await ask(census_of(worker), *views))["views"]
    assert [matched for matched, _ in found] == [2, 1, 0]


async def test_texts_of_clients_are_cut() -> None:
    worker = Streams()
    worker.open(target="/" + "x" * 60_000)
    [row] = (await ask(census_of(worker), View()))["views"][0][1]
    assert len(row["path"]) < 300
    assert row["path"].endswith("…")


def test_a_question_fits_whatever_a_user_types() -> None:
    view = View.of_query({"filter": "\U0001f600" * 1000, "order": "no such order"})
    assert view.order is Order.SILENCE
    assert sum(map(len, view.words)) == MOST_TEXT
    assert len(question([view] * 4)) < 8192


async def test_one_that_ends_meanwhile_is_counted_once() -> None:
    """The count is made in turns of the event loop, between which streams end."""
    worker = Streams()
    streams = [worker.open(events=1) for _ in range(1000)]
    counting = asyncio.create_task(ask(census_of(worker), View()))
    await asyncio.sleep(0)
    for stream in streams[::2]:
        worker.end(stream)
    found = await counting
    assert found["routes"]["chat"][4] == 1000
    assert found["routes"]["chat"][1] < 1000


async def test_workers_that_ask_the_same_share_an_answer() -> None:
    worker = Streams()
    census = census_of(worker)
    before = await ask(census, View())
    worker.open()
    assert await ask(census, View()) == before
    assert (await ask(census, View(words=("chat",))))["views"][0][0] == 1, "another question"
