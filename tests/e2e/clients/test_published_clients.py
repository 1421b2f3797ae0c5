"""Do published clients, unmodified, read through the proxy what they read without it?

Heartbeats go out every 20 ms, and the upstream is silent for 70 ms before each piece of a stream.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.e2e.clients.client_programs import Outcome
from tests.e2e.clients.matrix import DIALECT_CASES, FORM_CASES, UNREADABLE, Case
from tests.support.sseproxy_process import SseproxyProcess

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.

Outcomes = Mapping[Case, Outcome]
LEAST = 3  # heartbeats in one stream, for the case to mean anything


@pytest.mark.parametrize("case", DIALECT_CASES, ids=str)
def test_the_result_is_the_same_as_without_heartbeats(case: Case, outcomes: Outcomes) -> None:
    assert outcomes[case] == outcomes[case.direct()]


@pytest.mark.parametrize("case", [*{case.direct(): None for case in DIALECT_CASES}], ids=str)
def test_a_client_can_read_the_recorded_stream(case: Case, outcomes: Outcomes) -> None:
    """Otherwise the same result with and without heartbeats would say nothing."""
    read = outcomes[case].error is None and len(outcomes[case].items) > LEAST
    assert read is ((case.client, case.ids) not in UNREADABLE)


@pytest.mark.parametrize("case", FORM_CASES, ids=str)
def test_a_form_is_harmless_for_the_clients_that_it_is_meant_for(case: Case, outcomes: Outcomes) -> None:
    found, expected = outcomes[case], outcomes[case.direct()]
    if case.client.name.endswith("helper"):
        assert found.error is None
        assert found.items[-1] == expected.items[-1]  # what the helper has put together
    else:
        assert Outcome([item for item in found.items if not _is_heartbeat(case, item)], found.error) == expected


@pytest.mark.parametrize(
    "case", [case for case in FORM_CASES if case.route in {"form-openai-chat", "form-event"}], ids=str
)
def test_a_form_with_data_is_seen(case: Case, outcomes: Outcomes) -> None:
    if not case.client.name.endswith("helper"):
        assert any(_is_heartbeat(case, item) for item in outcomes[case].items)


def test_every_stream_carried_heartbeats(outcomes: Outcomes, proxy: SseproxyProcess) -> None:
    cases = [*DIALECT_CASES, *FORM_CASES]
    paths = {case.path for case in cases if (case.client, case.ids) not in UNREADABLE}
    sent = _heartbeats_by_path(proxy, at_least=len(cases))
    # How many there are in a pause depends on what else the machine has to do.
    assert {path for path in paths if not sent.get(path)} == set()


def _heartbeats_by_path(proxy: SseproxyProcess, *, at_least: int) -> dict[str, int]:
    """From the access log, by the path of the case."""
    entries = map(json.loads, proxy.stdout.wait_for(lambda lines: len(lines) >= at_least))
    return {"/".join(entry["path"].split("/")[:6]): entry.get("heartbeats", 0) for entry in entries}


def _is_heartbeat(case: Case, item: Any) -> bool:
    known = _HEARTBEATS.get(case.route)
    return known is not None and known(item)


def _is_empty_chunk(chunk: Any) -> bool:
    choices = chunk["choices"]
    named = bool(choices) and chunk["id"].startswith("chatcmpl-") and choices[0]["finish_reason"] is None
    return named and not any(value is not None for value in choices[0]["delta"].values())


_HEARTBEATS: Mapping[str, Callable[[Any], bool]] = {
    "form-openai-chat": _is_empty_chunk,
    "form-openai-responses": lambda event: event["type"] == "keepalive",
    "form-event": lambda event: event[0] == "heartbeat",
}
