"""Whom does a client hold back that does not read? (contract of the journal: slow readers)"""

import asyncio

import pytest

from tests.support.run_stand import TAKES_IDS, RunStand, at, data_of
from tests.support.settled import eventually, settled
from tests.support.virtual_clock import now, passing

COOKIE = b"Cookie: s=one"
IDS = (COOKIE, *TAKES_IDS)
KIB = 1024
ANSWER = (
    "name: a, match: {path: /a}, timeouts: {write: 20s}, "
    "journal: {kind: answer, login: 'cookie:s', keep: {bytes: 512KiB}}"
)
EVENT = b"data: " + b"x" * (16 * KIB - 8) + b"\n\n"


def is_held(on: RunStand) -> bool:
    """Whether the upstream of the only run is held back."""
    relay = on.run.producer.relay
    return relay is not None and relay.transfer.delivery.is_blocked


async def test_a_reader_of_an_answer_holds_the_upstream_back_at_what_is_kept_and_not_before() -> None:
    async with RunStand.serve(ANSWER, send_buffer=16 * KIB) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}")
        url = b"GET /_runs/a/" + on.run.name
        slow = await on.client()
        await slow.peer.send(url + b" HTTP/1.1\r\nHost: a.test\r\nCookie: s=one\r\n\r\n")
        await slow.reading()
        slow.peer.pause()
        window = on.run.state.window
        for _ in range(30):
            await call.send(EVENT)
            await tab.event()
        assert window.bytes >= 28 * 16 * KIB  # it was not held back so far
        assert not is_held(on)
        for _ in range(60):
            call.visit.writer.write(b"4000\r\n" + EVENT + b"\r\n")
        await eventually(lambda: is_held(on))
        held = await settled(lambda: window.bytes)
        assert held <= (512 + 256) * KIB
        slow.peer.resume()
        await asyncio.gather(slow.events(90), tab.events(60))
        assert not is_held(on)
        await call.finish()
        assert await tab.ending() == ([], True)
        assert await slow.ending() == ([], True)


async def test_one_that_never_reads_again_is_cut_off_and_the_others_go_on() -> None:
    async with RunStand.serve(ANSWER, send_buffer=16 * KIB) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}")
        slow = await on.client()
        await slow.peer.send(b"GET /_runs/a/" + on.run.name + b" HTTP/1.1\r\nHost: a.test\r\nCookie: s=one\r\n\r\n")
        await slow.reading()
        slow.peer.pause()
        began = now()
        for _ in range(60):
            call.visit.writer.write(b"4000\r\n" + EVENT + b"\r\n")
        for _ in range(60):
            await tab.event()
        assert 15 < now() - began < 60
        assert on.run.attended == 1
        await call.finish()
        assert await tab.ending() == ([], True)


async def test_what_is_kept_by_number_holds_the_upstream_back_as_well() -> None:
    few = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s', keep: {events: 10}}"
    async with RunStand.serve(few, send_buffer=16 * KIB) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}")
        tab.peer.pause()
        for number in range(200):
            call.visit.writer.write(b"4000\r\n" + b"data: %3d" % number + EVENT[9:] + b"\r\n")
        await eventually(lambda: is_held(on))
        await settled(lambda: on.run.state.window.events)
        tab.peer.resume()
        assert [data[:3] for data in data_of(await tab.events(200))] == [b"%3d" % number for number in range(200)]
        assert not is_held(on)


async def test_what_a_slow_reader_holds_counts_though_its_run_is_forgotten() -> None:
    async with RunStand.serve(ANSWER, send_buffer=16 * KIB) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}")
        url = b"GET /_runs/a/" + on.run.name
        tab.peer.pause()
        await call.send(EVENT * 30)
        await call.finish()
        await eventually(lambda: on.run.state.end is not None)
        run = on.run
        on.desk.forget(run)
        assert (await on.ask(url, COOKIE)).status == 404
        assert on.desk.budget.total > 28 * 16 * KIB
        del run
        tab.peer.resume()
        assert len(data_of(await tab.events(30))) == 30
        await tab.leave()
        await eventually(lambda: on.desk.budget.total == 0)


async def test_without_a_reader_that_lags_an_answer_is_kept_as_far_as_the_route_says() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}")
        for _ in range(100):
            await call.send(EVENT)
            await tab.event()
        assert on.run.state.window.bytes <= 512 * KIB
        assert (await on.ask(b"GET /_runs/a/" + on.run.name, COOKIE)).status == 410
        back = await on.read(b"POST /a", COOKIE, at(on.run.name + b".1-99"), body=b"{}")
        assert len(await back.event()) > 16 * KIB
        await call.finish()
        assert await back.ending() == ([], True)


async def test_an_answer_without_any_reader_is_not_held_back() -> None:
    async with RunStand.serve(ANSWER) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}")
        await tab.leave()
        await on.attended(0)
        for _ in range(100):
            await call.send(EVENT)
        await call.finish()
        await eventually(lambda: on.run.state.end is not None)
        assert on.run.state.seq == 101


@pytest.mark.parametrize("takes_ids", [True, False])
async def test_a_reader_of_a_feed_holds_nobody_back_and_hears_of_what_it_has_missed(takes_ids: bool) -> None:
    route = (
        "name: f, match: {path: /f}, timeouts: {write: 600s}, journal: {kind: feed, login: anyone, keep: {events: 10}}"
    )
    async with RunStand.serve(route, send_buffer=16 * KIB) as on:
        tab, call = await on.open(b"GET /f", *TAKES_IDS)
        slow = await on.client()
        accept = b"Accept: text/event-stream\r\n" if takes_ids else b""
        await slow.peer.send(b"GET /f HTTP/1.1\r\nHost: a.test\r\n" + accept + b"\r\n")
        await slow.reading()
        slow.peer.pause()
        began = now()
        for _ in range(100):
            await call.send(EVENT)
            await tab.event()
        assert now() - began < 5
        slow.peer.resume()
        if takes_ids:
            while not (event := await slow.event()).startswith(b"event: gap"):
                pass
            assert b'"reason": "trimmed"' in event
            assert len(data_of(await slow.events(10))) == 10
        else:
            assert not (await slow.body())[1]


async def test_heartbeats_are_those_of_each_reader() -> None:
    route = "name: a, match: {path: /a}, heartbeat: {interval: 10s}, journal: {kind: answer, login: 'cookie:s'}"
    async with RunStand.serve(route) as on:
        tab, call = await on.open(b"POST /a", COOKIE, body=b"{}", first=b"data: 1\n\n")
        await tab.event()
        await passing(5)
        other = await on.read(b"GET /_runs/a/" + on.run.name, COOKIE)
        await other.event()
        began = now()
        assert await tab.event() == b": heartbeat"
        assert now() - began <= 6
        assert await other.event() == b": heartbeat"
        assert 8.5 <= now() - began <= 11
        await call.finish()


async def test_a_client_of_an_answer_that_reads_nothing_is_no_reason_for_silence() -> None:
    route = ANSWER.replace("write: 20s", "idle: 30s, write: 600s").replace("512KiB", "64KiB")
    async with RunStand.serve(route, send_buffer=16 * KIB) as on:
        slow = await on.client()
        await slow.peer.send(b"POST /a HTTP/1.1\r\nHost: a.test\r\nCookie: s=one\r\nContent-Length: 0\r\n\r\n")
        call = await on.call()
        await call.begin()
        await slow.reading()
        slow.peer.pause()
        for _ in range(50):
            call.visit.writer.write(b"4000\r\n" + EVENT + b"\r\n")
        await eventually(lambda: is_held(on))
        await passing(120)  # the upstream is held back, not silent
        slow.peer.resume()
        for _ in range(50):
            await slow.event()
        await call.finish()
        assert await slow.ending() == ([], True)
