"""Would the property tests of JSON answers notice? Each rule is broken on purpose; see `test_the_suite_bites`."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from sseproxy.core.stream import json_answer as module
from sseproxy.core.stream.json_answer import JsonAnswer
from sseproxy.core.stream.timeouts import Timer
from sseproxy.core.stream.transfer import CloseReason, StreamTransfer
from tests.core import test_json_answer as properties
from tests.core.test_the_suite_bites import Break
from tests.support.json_trips import JsonCase, json_cases

_set_timers = JsonAnswer.set_timers


def _keep_the_mark(self: JsonAnswer, data: bytes, *, now: float) -> None:
    StreamTransfer.receive_data(self, data, now=now)


def _beat_for_ever(self: JsonAnswer) -> None:
    _set_timers(self)
    StreamTransfer.set_timers(self)
    self._timers.set(Timer.HEARTBEAT, self._last_heard + 1.0)


def _no_text(self: JsonAnswer, data: bytes, now: float) -> None:
    self._last_heard = now
    self._send(data)


def _beat_while_blocked(self: JsonAnswer, *, now: float) -> None:
    self._last_heard = now
    self.stats.heartbeats += 1
    self._send(b" ")


def _end_cleanly(self: JsonAnswer, reason: CloseReason, *, now: float) -> None:
    self.close(reason, clean=True, now=now)


_receive_error = JsonAnswer.receive_error


def _an_error_behind_the_head(self: JsonAnswer, reason: CloseReason, *, now: float) -> None:
    self._stage = type(self._stage)["PROMISED"]
    _receive_error(self, reason, now=now)


BREAKS = [
    Break("no mark behind a space", ((JsonAnswer, "receive_data", _keep_the_mark),)),
    Break("nothing inside the text", ((JsonAnswer, "set_timers", _beat_for_ever),)),
    Break("the text begins with its first byte", ((JsonAnswer, "_pass_on", _no_text),)),
    Break("no space while the client takes nothing", ((JsonAnswer, "_beat", _beat_while_blocked),)),
    Break("a space is a space", ((module, "_SPACE", b"\x0b"),)),
    Break("what is white space", ((module, "_WHITE_SPACE", b' \t\r\n"{['),)),
]

ENDS = [
    Break("half an answer ends broken", ((JsonAnswer, "receive_error", _end_cleanly),)),
    Break("and nothing is put in its place", ((JsonAnswer, "receive_error", _an_error_behind_the_head),)),
]


def _counterexample(check: Callable[[JsonCase], None], most: int = 3_000) -> Exception | None:
    search = settings(
        max_examples=most,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    @search
    @given(json_cases())
    def examine(case: JsonCase) -> None:
        try:
            check(case)
        except ValueError as error:  # a parser cannot read it
            raise AssertionError(str(error)) from error

    try:
        examine()
    except AssertionError as found:
        return found
    return None


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.rule)
def test_a_broken_rule_is_noticed(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.apply(monkeypatch)
    assert _counterexample(properties.the_client_reads_the_same)


def _ended(case: JsonCase) -> None:
    for moment in (-1, 0, 2):
        properties.a_broken_one_never_looks_whole(case, CloseReason.UPSTREAM_ERROR, moment)


@pytest.mark.parametrize("broken", ENDS, ids=lambda broken: broken.rule)
def test_a_wrong_end_is_noticed(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.apply(monkeypatch)
    assert _counterexample(_ended)


def test_nothing_is_found_where_nothing_is_broken() -> None:
    assert _counterexample(properties.the_client_reads_the_same, 200) is None
    assert _counterexample(_ended, 200) is None
