"""Does a dashboard show all workers, with rates that are true when one of them is away or begins anew?"""

import json
from typing import Any

import pytest

from sseproxy.process.dashboard.census import MOST_ROWS, Census
from sseproxy.process.dashboard.overview import MOST_ROUTES, Overview, Pace
from sseproxy.process.dashboard.view import Order, View
from sseproxy.process.siblings import Place, Siblings
from tests.process.dashboard.streams import Streams

EVERY = View()


class Answers(Siblings):
    """Workers that answer what the test says; ``None``: not at all."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        super().__init__(Place(), self.nothing)
        self.answers = list(answers)

    async def nothing(self, question: str) -> bytes:
        return b""

    async def ask_all(self, question: str) -> dict[int, bytes | None]:
        return {
            index: None if answer is None else json.dumps(answer).encode() for index, answer in enumerate(self.answers)
        }


def answer(process: str = "0-aaaa", at: float = 100.0, events: int = 0, **more: Any) -> dict[str, Any]:
    """What one worker says that has a stream open on one route."""
    routes = {"chat": [0, 1, 0, 7.5, events, 10 * events, 0]}
    found = {"process": process, "at": at, "others": 0, "silences": [1] * 7, "routes": routes, "history": []}
    return {**found, "views": [[1, []]], **more}


async def look(overview: Overview, view: View = EVERY) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await overview.snapshots([view]))[view])
    return found


def overview_of(workers: Siblings) -> Overview:
    return Overview(workers, lambda: 1000.0)


async def test_rates_are_those_of_all_workers() -> None:
    workers = Answers(answer(), answer("1-bbbb", events=50))
    overview = overview_of(workers)
    assert (await look(overview))["total"]["events"] is None, "one look says nothing about rates"
    workers.answers = [answer(at=102, events=10), answer("1-bbbb", at=101, events=57)]
    found = await look(overview)
    assert found["total"] == {
        "open": 2,
        "waiting": 0,
        "draining": 0,
        "events": 12,
        "bytes": 120,
        "heartbeats": 0,
        "silence": 7.5,
    }
    assert found["silences"] == [2] * 7
    assert (found["workers"], found["missing"]) == (2, [])


async def test_a_worker_that_is_away_or_is_another_one_makes_no_rate_negative() -> None:
    workers = Answers(answer(events=10), answer("1-bbbb", events=1000))
    overview = overview_of(workers)
    await look(overview)
    workers.answers = [answer(at=101, events=11), None]
    found = await look(overview)
    assert (found["total"]["events"], found["missing"]) == (1, [1])
    workers.answers = [answer(at=102, events=12), answer("1-cccc", at=102, events=3)]
    assert (await look(overview))["total"]["events"] == 1
    workers.answers = [answer(at=103, events=13), answer("1-cccc", at=103, events=7)]
    assert (await look(overview))["total"]["events"] == 5


def test_a_rate_is_measured_over_a_second_also_when_looks_come_faster() -> None:
    pace = Pace("0-aaaa")
    assert pace.rates(10.0, {"chat": [0, 0, 0]}) is None
    counts = {10.1 + each / 10: {"chat": [each + 1, 0, 0]} for each in range(30)}
    rates = [found["chat"][0] for at, said in counts.items() if (found := pace.rates(at, said)) is not None]
    assert rates == pytest.approx([10.0] * 30)
    assert pace.rates(13.0, {"chat": [999, 0, 0]}) is not None, "an answer that was kept is no new look"
    assert len(pace.looks) < 15


def test_a_dashboard_that_is_opened_again_shows_no_rate_of_the_hours_between() -> None:
    pace = Pace("0-aaaa")
    for at in (10.0, 11.0):
        pace.rates(at, {"chat": [0, 0, 0]})
    assert pace.rates(3600.0, {"chat": [9000, 0, 0]}) is None
    assert pace.rates(3601.0, {"chat": [9007, 0, 0]}) == {"chat": [7, 0, 0]}


async def test_the_first_rows_of_all_workers_in_one_order() -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"{number % 2}-{number}", "age": number % 70, "route": "chat"} for number in range(2 * MOST_ROWS)
    ]
    views = [[[len(rows), rows[:MOST_ROWS]]], [[7, rows[MOST_ROWS:]]]]
    workers = Answers(answer(views=views[0]), answer("1-bbbb", views=views[1]))
    found = await look(overview_of(workers), View(Order.AGE))
    assert found["matched"] == len(rows) + 7
    ages = [row["age"] for row in found["rows"]]
    assert len(ages) == MOST_ROWS
    assert ages == sorted((row["age"] for row in rows), reverse=True)[:MOST_ROWS]


async def test_each_view_has_its_rows() -> None:
    worker = Streams()
    worker.open("chat")
    worker.open("feeds")
    siblings = Siblings(Place(), lambda question: Census(worker.live, worker.history, "0-a").answer(question[9:]))
    every, one = View(), View(Order.AGE, ("feeds",))
    found = {view: json.loads(text) for view, text in (await overview_of(siblings).snapshots([one, every])).items()}
    assert [len(found[view]["rows"]) for view in (every, one)] == [2, 1]
    assert found[one]["rows"][0]["route"] == "feeds"
    assert found[one]["total"]["open"] == 2, "a filter changes the list only"


async def test_of_many_routes_those_with_streams_are_shown() -> None:
    routes = {f"route{number:03}": [0, int(number == 77), 0, 0, 0, 0, 0] for number in range(200)}
    found = await look(overview_of(Answers(answer(routes=routes))))
    names = [each["route"] for each in found["routes"]]
    assert "route077" in names
    assert names == sorted(names)
    assert (len(found["routes"]), found["more_routes"]) == (MOST_ROUTES, 200 - MOST_ROUTES)
    assert found["total"]["open"] == 1
