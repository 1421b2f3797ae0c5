"""What does each SDK make of an answer in JSON that its client was promised before the service had one?

`heartbeat.json` is on, white space goes out every 50 ms, and the service answers when the client has been promised it.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.clients.answers_rig import Measured, Way, measure, table
from tests.e2e.clients.catalogue import ANSWERING
from tests.e2e.clients.client_programs import Client
from tests.e2e.clients.late_answers import TEXT, LateAnswer

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.

_MANUAL = Path(__file__).parents[3] / "docs" / "json.md"
_FAILURES = (LateAnswer.E400, LateAnswer.E401, LateAnswer.E429, LateAnswer.E500, LateAnswer.PAGE, LateAnswer.CRASH)


@pytest.fixture(scope="module")
def all_measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, list[str]]:
    return measure(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def measured(all_measured: tuple[Measured, list[str]]) -> Measured:
    return all_measured[0]


@pytest.mark.parametrize("client", ANSWERING, ids=str)
def test_a_late_answer_is_the_same_as_one_without_a_proxy(client: Client, measured: Measured) -> None:
    row = measured[client]
    assert row[Way.PATIENT, LateAnswer.WHOLE] == row[Way.DIRECT, LateAnswer.WHOLE]
    assert row[Way.DRAINED, LateAnswer.GATED] == row[Way.DIRECT, LateAnswer.WHOLE]
    assert row[Way.DIRECT, LateAnswer.WHOLE].error is None
    assert row[Way.DIRECT, LateAnswer.WHOLE].items[-1] == TEXT


@pytest.mark.parametrize("client", ANSWERING, ids=str)
def test_half_an_answer_is_never_taken_for_a_whole_one(client: Client, measured: Measured) -> None:
    for way in (Way.DIRECT, Way.PATIENT):
        broken = measured[client][way, LateAnswer.HALF]
        assert broken.error is not None
        assert broken.items == []


@pytest.mark.parametrize("client", ANSWERING, ids=str)
def test_no_failure_gives_a_text_to_the_user(client: Client, measured: Measured) -> None:
    row = measured[client]
    failures = [(Way.PATIENT, what) for what in _FAILURES]
    for case in (*failures, (Way.HASTY, LateAnswer.SILENT), (Way.STOPPED, LateAnswer.GATED)):
        assert not (row[case].error is None and row[case].items[-1]), case


def test_the_manual_has_what_was_measured(measured: Measured) -> None:
    said = _MANUAL.read_text(encoding="utf-8").splitlines()
    assert [line for line in table(measured) if line not in said] == []


def test_the_log_has_the_status_that_was_meant(all_measured: tuple[Measured, list[str]]) -> None:
    entries = [entry for entry in map(json.loads, all_measured[1]) if entry.get("message") != "start"]
    assert {entry["status"] for entry in entries} == {200}
    assert all(entry["heartbeats"] > 0 for entry in entries)
    meant = Counter((entry["path"].split("/")[4], entry.get("intended")) for entry in entries)
    wanted = {
        ("whole", None),
        ("400", 400),
        ("401", 401),
        ("429", 429),
        ("500", 500),
        ("page", 502),
        ("nothing", 204),
        ("half", None),
        ("crash", 502),
    }
    assert meant == dict.fromkeys(wanted, len(ANSWERING))
