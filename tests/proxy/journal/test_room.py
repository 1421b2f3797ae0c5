"""What becomes of requests for which there is no room? (contract of the journal: money)"""

from sseproxy.core.store import StorePolicy
from sseproxy.runs.counts import Without
from tests.support.run_stand import TAKES_IDS, RunStand, data_of

COOKIE = b"Cookie: s=one"
IDS = (COOKIE, *TAKES_IDS)
KEYED = (
    "name: a, match: {path: /a}, "
    "journal: {kind: answer, key: 'query:c', login: 'cookie:s', resume: {path: '/a/{key}/stream'}}"
)
BY_RUN = "name: a, match: {path: /a}, journal: {kind: answer, login: 'cookie:s'}"
FEED = "name: f, match: {path: /f}, journal: {kind: feed, login: anyone}"
EARLY = ", heartbeat: {interval: 5s, before_response: 10s}"
URL = b"GET /a/7/stream"


async def test_each_reader_counts_among_the_streams_of_the_route() -> None:
    async with RunStand.serve(KEYED + ", limits: {streams: 2}") as on:
        tab, _ = await on.open(b"POST /a?c=7", *IDS, body=b"{}", first=b"data: 1\n\n")
        await on.read(URL, COOKIE)
        refused = await on.ask(URL, COOKIE)
        assert (refused.status, refused.one(b"Retry-After") is not None) == (503, True)
        assert (await on.ask(b"POST /a?c=8", *IDS, body=b"{}")).status == 503
        assert len(on.calls) == 1
        await tab.leave()
        await on.attended(1)
        await on.read(URL, COOKIE)


async def test_where_memory_is_short_requests_are_relayed_without_a_journal() -> None:
    async with RunStand.serve(BY_RUN, policy=StorePolicy(memory=20_000)) as on:
        tab, call = await on.open(b"POST /a", *IDS, body=b"{}")
        await call.send(b"data: " + b"x" * 40_000 + b"\n\n")
        await tab.event()
        other = await on.send(b"POST /a", *IDS, body=b"{}")
        second = await on.call(1)
        await second.begin(first=b"data: 1\n\n")
        head = await other.head()
        assert head.all(b"Content-Location") == []
        await second.finish()
        assert await other.ending() == ([b"data: 1"], True)
        assert len(on.desk) == 1
        assert on.desk.stats.unjournalled["a", Without.MEMORY] == 1
        await call.send(b"data: more\n\n")
        assert data_of([await tab.event()]) == [b"more"]
