"""What is wrong, by what was seen? No clock, no network."""

from dataclasses import replace
from typing import Any

import pytest

from sseproxy.probe.cures import Fault, cures_of
from sseproxy.probe.diagnosis import bursts_of, diagnose_chain, diagnose_stream
from sseproxy.probe.hops import Hop, hops_in, other_signs
from sseproxy.probe.measured import Noticed
from sseproxy.probe.silences import lifetime_of, limit_after, silence_after, silence_before
from sseproxy.probe.stream import Ending, Mark, Sign, Stream
from tests.probe.streams import CLEAN, SOON, steady, stream, whole

_NGINX = ("Server", "nginx/1.22.1")
_GZIP = ("Content-Encoding", "gzip")
_LUMPS = [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("seen", "fault", "says"),
    [
        (stream(head_at=None, status=None, ending=Ending.NOT_HTTP), Fault.NOT_HTTP, "no HTTP"),
        (stream(head_at=None, status=None, ending=Ending.RESET, seconds=0.1), Fault.NO_RESPONSE, "reset after 0.1 s"),
        (
            stream(head_at=None, status=None, ending=Ending.NO_RESPONSE, seconds=60.0),
            Fault.CUT_BEFORE_HEAD,
            "closed without a response after 60.0 s of silence",
        ),
        (stream(head_at=None, status=None, ending=Ending.OPEN, seconds=90.0), Fault.NO_RESPONSE, "within 90.0 s"),
        (stream(status=504, head_at=60.0), Fault.CUT_BEFORE_HEAD, "answered 504 after 60.0 s"),
        (stream(status=524, head_at=100.0), Fault.CUT_BEFORE_HEAD, "answered 524 after 100.0 s"),
        (stream(status=503, head_at=30.0), Fault.CUT_BEFORE_HEAD, "answered 503 after 30.0 s"),
        (stream(status=503, head_at=0.1), Fault.ERROR_STATUS, "the answer is 503"),
        (stream(status=401), Fault.ERROR_STATUS, "the answer is 401"),
        (stream([1.0], ending=Ending.TRUNCATED, seconds=61.0), Fault.CUT_AFTER_HEAD, "after 60.0 s of silence"),
        (stream([1.0], ending=Ending.RESET, seconds=61.0), Fault.CUT_AFTER_HEAD, "was reset after 60.0 s"),
        (stream([1.0, 2.0], ending=Ending.TRUNCATED, seconds=2.1), Fault.BROKEN_OFF, "broke off after 2.1 s"),
        (stream([30.0, 36.0], ending=Ending.RESET, seconds=42.0), Fault.BROKEN_OFF, "in the middle"),
        (
            stream([60.0], head_at=60.0, ending=Ending.TRUNCATED),
            Fault.BROKEN_OFF,
            "all of it came only then: a hop may hold it back, so the service's silence is not known",
        ),
        (stream([1.0], closes=True), Fault.HTTP10, "half of it looks whole"),
        (stream(_LUMPS), Fault.LUMPS, "12 in 3 bursts"),
        (stream([9.0] * 8), Fault.LUMPS, "all 8 at once after 9.0 s"),
        (stream(_LUMPS, fields=[_GZIP]), Fault.COMPRESSED, "gzip-coded"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_what_is_wrong_with_a_stream(seen: Stream, fault: Fault, says: str) -> None:
    (finding,) = diagnose_stream(seen)
    assert finding.fault is fault
    assert says in finding.what


@pytest.mark.parametrize(
    "seen",
    [
        stream([0.0, 1.0, 2.0]),
        stream([0.0, 1.0], ending=Ending.OPEN, seconds=90.0),
        stream([10.0 + number / 100 for number in range(200)]),  # a quick model that has thought
        stream([0.1] * 50),  # a short answer
        stream([5.0] * 50, ending=Ending.OPEN, seconds=9.0),  # what a feed had in store
        stream([0.0] * 50 + [10.0, 20.0, 30.0]),
        stream([1.0, 2.0, 3.0], fields=[_GZIP]),
    ],
)
def test_streams_that_are_as_they_should_be(seen: Stream) -> None:
    assert diagnose_stream(seen) == ()


def test_what_is_no_event_stream_is_said_with_its_type() -> None:
    (finding,) = diagnose_stream(Stream(Ending.CLEAN, 0.1, 200, (("Content-Type", "text/html; charset=utf-8"),), 0.1))
    assert finding.fault is Fault.NOT_A_STREAM
    assert "text/html" in finding.what


def test_a_burst_counts_from_its_first_event() -> None:
    assert bursts_of([0.0, 0.01, 0.02, 0.03, 0.04]) == [[0.0, 0.01, 0.02], [0.03, 0.04]]


# Chains.


def test_a_clean_chain() -> None:
    assert diagnose_chain(CLEAN) == ()
    assert silence_before(CLEAN) is None
    assert silence_after(CLEAN) is None


_IN_ONE_GO = steady([6.0, 5.5, 5.0, 4.5, 4.0, 3.5], head_at=8.0)
_HELD = steady(head_at=2.0)
_CUT = stream([0.0], ending=Ending.TRUNCATED, seconds=7.0)
_LOST = Noticed(None, 5.0)
_LOST_ALSO_WRITING = Noticed(None, 5.0, while_writing=_LOST)
_WHEN_WRITING = Noticed(None, 5.0, while_writing=Noticed(0.5, 5.0))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"plain": _IN_ONE_GO}, {Fault.LUMPS}),
        ({"plain": steady([6.0, 5.5, 5.0, 4.5, 4.0, 3.5], coding="gzip")}, {Fault.COMPRESSED}),
        ({"plain": steady([0.0, 0.0, 9.0])}, set()),  # one is late by chance
        ({"plain": _HELD}, {Fault.HEAD_HELD}),
        ({"plain": steady([0.22])}, {Fault.DELAYED}),
        ({"plain": steady([0.22, 0.0, 0.22, 0.0, 0.22, 0.0])}, {Fault.DELAYED}),
        ({"plain": steady([0.22]), "round_trip": 0.2}, set()),  # a long way
        ({"version": "HTTP/1.0"}, {Fault.HTTP10}),
        ({"version": "HTTP/1.0", "broken": stream([0.0])}, {Fault.HTTP10}),
        ({"broken": stream([0.0])}, {Fault.BREAK_LOOKS_WHOLE}),
        ({"before": stream(status=504, head_at=7.0)}, {Fault.CUT_BEFORE_HEAD}),
        ({"before": stream(head_at=None, status=None, ending=Ending.RESET, seconds=7.0)}, {Fault.CUT_BEFORE_HEAD}),
        ({"after": _CUT}, {Fault.CUT_AFTER_HEAD}),
        ({"after": stream([0.0], seconds=7.0)}, {Fault.CUT_AFTER_HEAD}),  # cleanly
        (
            {"plain": stream([2.0, 2.5, 3.0, 3.5, 4.0], ending=Ending.TRUNCATED, seconds=4.5)},
            {Fault.LIFETIME},
        ),
        ({"left_after": Noticed(3.0, 5.0)}, {Fault.DISCONNECT_LATE}),
        ({"left_before": _LOST}, {Fault.DISCONNECT_LOST}),
        ({"left_before": _LOST, "left_after": _LOST_ALSO_WRITING}, {Fault.DISCONNECT_LOST}),
        ({"left_before": _LOST, "left_after": _WHEN_WRITING}, {Fault.DISCONNECT_WHEN_WRITING}),
        ({"left_before": None, "left_after": None}, set()),  # could not be measured
        ({"left_before": SOON}, set()),
        ({"plain": stream(status=401)}, {Fault.ERROR_STATUS}),
    ],
)
def test_what_is_wrong_with_a_chain(change: dict[str, Any], faults: set[Fault]) -> None:
    plain = change.get("plain")
    if isinstance(plain, Stream) and plain.ending is Ending.TRUNCATED:
        change["plain"] = replace(plain, marks=tuple(_as_known(plain)))
    assert {finding.fault for finding in diagnose_chain(replace(CLEAN, **change))} == faults


def _as_known(plain: Stream) -> Any:
    return (replace(mark, data=f'{{"n": {number}, "at": {mark.at}}}') for number, mark in enumerate(plain.marks))


def test_an_end_that_only_looks_whole_is_called_so() -> None:
    (finding,) = diagnose_chain(replace(CLEAN, after=stream([0.0], seconds=7.0)))
    assert "ended cleanly after 7.0 s of silence, and half an answer looks whole" in finding.what


@pytest.mark.parametrize(
    ("hinted", "says"), [(steady(), "cure it (sseproxy sends both)"), (_IN_ONE_GO, "do not cure it")]
)
def test_whether_a_word_of_the_service_helps_is_said(hinted: Stream, says: str) -> None:
    (finding,) = diagnose_chain(replace(CLEAN, plain=_IN_ONE_GO, hinted=hinted))
    assert says in finding.what


def test_heartbeats_of_a_hop_behind_its_head_are_no_held_head() -> None:
    plain = steady()
    beaten = replace(plain, reads=(0.3, *plain.reads))
    assert diagnose_chain(replace(CLEAN, plain=beaten)) == ()


def test_a_stream_that_dies_of_silence_has_no_limit_of_the_whole() -> None:
    died = stream([2.0, 2.5, 3.0, 3.5], ending=Ending.TRUNCATED, seconds=10.4)
    chain = replace(CLEAN, plain=replace(died, marks=tuple(_as_known(died))), after=_CUT)
    assert {finding.fault for finding in diagnose_chain(chain)} == {Fault.CUT_AFTER_HEAD}


def test_a_stream_that_a_hop_holds_and_then_lets_die_of_silence_has_no_limit_of_the_whole() -> None:
    held = stream([10.0] * 4, head_at=10.0, ending=Ending.TRUNCATED)
    marks = (replace(mark, data=f'{{"at": {2 + number}}}') for number, mark in enumerate(held.marks))
    chain = replace(CLEAN, plain=replace(held, marks=tuple(marks)), after=_HELD_CUT)
    assert lifetime_of(chain) is None
    # The same, but the service wrote until it was cut.
    marks = (replace(mark, data=f'{{"at": {6.8 + number}}}') for number, mark in enumerate(held.marks))
    assert lifetime_of(replace(chain, plain=replace(held, marks=tuple(marks)))) == 10.0


# Silence, by the clock of the service.

_HELD_CUT = stream([5.0], head_at=5.0, ending=Ending.TRUNCATED)
_BEATS = tuple(Mark(at, Sign.HEARTBEAT) for at in (1.0, 2.0, 3.0, 4.0))
_BEATEN = replace(_CUT, reads=(0.0, 1.0, 2.0, 3.0, 4.0), marks=(*_CUT.marks, *_BEATS), seconds=5.0)
_ADDED = replace(_BEATEN, marks=(*_BEATEN.marks, Mark(5.0, Sign.EVENT, "error", "{}")), seconds=6.0)


@pytest.mark.parametrize(
    ("after", "seconds", "limit"),
    [
        (_CUT, 7.0, 7.0),
        (_HELD_CUT, 4.98, 4.98),  # by a round trip less than the request took
        (stream(head_at=5.0, seconds=5.0, ending=Ending.TRUNCATED), 4.98, 4.98),  # the event was lost
        (stream(status=504, head_at=5.0), 4.98, 4.98),  # the head was, too
        (stream(status=502, head_at=0.01), 0.0, 0.0),
        (_BEATEN, 5.0, None),
        (_ADDED, 5.0, None),
        (stream([0.0], ending=Ending.OPEN, seconds=17.0), 17.0, None),
    ],
)
def test_how_long_the_service_was_silent(after: Stream, seconds: float, limit: float | None) -> None:
    chain = replace(CLEAN, after=after)
    assert silence_after(chain) == pytest.approx(seconds)
    assert limit_after(chain) == (None if limit is None else pytest.approx(limit))
    (finding,) = diagnose_chain(chain)
    recommended = [str(cure) for cure in finding.cures if "sseproxy" in str(cure)]
    assert bool(recommended) is (limit is not None)
    assert any("heartbeat.interval" in cure for cure in recommended) is bool(limit)


def test_a_gateway_that_answers_for_a_silent_stream_is_quoted() -> None:
    (finding,) = diagnose_chain(replace(CLEAN, after=stream(status=504, head_at=5.0)))
    assert "a stream is answered with 504 after 5.0 s of silence" in finding.what
    assert "looks whole" not in finding.what


def test_a_limit_of_the_whole_is_no_limit_of_silence() -> None:
    plain = stream([2.0, 2.5, 3.0, 3.5, 4.0], ending=Ending.TRUNCATED, seconds=4.5)
    whole_limit = replace(CLEAN, plain=replace(plain, marks=tuple(_as_known(plain))), after=replace(_CUT, seconds=4.5))
    assert lifetime_of(whole_limit) == 4.5
    assert limit_after(whole_limit) is None


def test_an_early_head_of_a_hop_is_no_end_of_the_silence() -> None:
    assert silence_before(replace(CLEAN, before=stream([0.3], ending=Ending.TRUNCATED, seconds=7.0))) == 7.0


@pytest.mark.parametrize(("times", "limit"), [([1.0], 60.0), ([1.0, 20.0, 40.0], None)])
def test_a_silence_as_long_as_one_before_it_is_no_limit(times: list[float], limit: float | None) -> None:
    (finding,) = diagnose_stream(stream(times, ending=Ending.RESET, seconds=times[-1] + (limit or 20.0)))
    assert finding.fault is Fault.CUT_AFTER_HEAD
    named = [str(cure) for cure in finding.cures if "heartbeat.interval below" in str(cure)]
    assert bool(named) is (limit is not None)
    assert all("below 20s" in cure for cure in named)


# Hops and cures.


@pytest.mark.parametrize(
    ("field", "hop"),
    [
        (_NGINX, Hop.NGINX),
        (("server", "Caddy"), Hop.CADDY),
        (("Server", "awselb/2.0"), Hop.ALB),
        (("CF-Ray", "8c1-FRA"), Hop.CLOUDFLARE),
        (("Via", "1.1 abc.cloudfront.net (CloudFront)"), Hop.CLOUDFRONT),
        (("Via", "1.1 google"), Hop.GOOGLE),
        (("via", "1.1 sseproxy-0123456789ab"), Hop.SSEPROXY),
        (("x-envoy-upstream-service-time", "12"), Hop.ENVOY),
        (("X-Served-By", "cache-fra-1"), Hop.FASTLY),
    ],
)
def test_hops_by_their_fields(field: tuple[str, str], hop: Hop) -> None:
    assert [seen.hop for seen in hops_in([field, ("Date", "now")])] == [hop]


def test_hops_by_their_error_pages() -> None:
    assert [seen.hop for seen in hops_in([], "<center>nginx/1.22.1</center>")] == [Hop.NGINX]
    assert [seen.hop for seen in hops_in([], "The server didn't respond in time.\n")] == [Hop.HAPROXY]
    assert hops_in([("Server", "gunicorn")]) == ()


def test_other_signs_are_shown_as_they_are() -> None:
    fields = [_NGINX, ("Via", "1.1 proxy.corp"), ("X-Cache", "MISS"), ("Date", "now")]
    assert other_signs(fields, hops_in(fields)) == ("Via: 1.1 proxy.corp", "X-Cache: MISS")


def test_what_is_seen_comes_first_and_what_cannot_be_seen_is_not_forgotten() -> None:
    cures = cures_of(Fault.CUT_AFTER_HEAD, [Hop.CLOUDFLARE])
    assert cures[0].hop is Hop.CLOUDFLARE
    assert cures[0].is_seen
    assert {Hop.HAPROXY, Hop.ALB} <= {cure.hop for cure in cures}
    assert Hop.NGINX not in {cure.hop for cure in cures}
    assert Hop.NGINX in {cure.hop for cure in cures_of(Fault.CUT_AFTER_HEAD, [])}


def test_sseproxy_is_not_recommended_where_it_is() -> None:
    cures = cures_of(Fault.CUT_AFTER_HEAD, [Hop.SSEPROXY], 60.0)
    assert not any("in front of the service" in str(cure) for cure in cures)
    assert "timeouts.idle" in str(cures[0])
    assert Hop.NGINX in {cure.hop for cure in cures}


@pytest.mark.parametrize("fault", sorted(set(Fault) - {Fault.UNREACHABLE, Fault.NOT_HTTP, Fault.NO_RESPONSE}))
def test_every_fault_of_a_chain_has_a_cure(fault: Fault) -> None:
    assert cures_of(fault, [])


def test_a_whole_stream_has_its_last_event() -> None:
    assert silence_after(replace(CLEAN, after=whole(3.0))) is None
    assert silence_after(replace(CLEAN, after=_CUT)) == 7.0
    assert silence_before(replace(CLEAN, before=stream(status=504, head_at=7.0))) == 7.0
