"""Is anything left after the end: tasks, sockets, objects?"""

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from sseproxy.core.errors import StoreAway
from sseproxy.stores.redis.blocking import BlockingReads
from sseproxy.stores.redis.library import RedisMissing, require_redis
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.subscriber import Subscriber
from sseproxy.stores.redis.urls import RedisURL
from sseproxy.stores.redis.wire import Wire
from tests.stores.redis.stand import SOON, Listener, a_link, a_subscriber, blocking_reads, open_sockets
from tests.support.nemesis import Nemesis
from tests.support.patience import LIMIT
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually as until


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _use(url: str) -> list["weakref.ref[object]"]:
    async with a_link(url) as link, a_subscriber(link) as subscriber, blocking_reads(link) as reads:
        listener = Listener()
        listener.subscribe(subscriber, b"news")
        listener.subscribe(subscriber, b"more").close()
        reads.watch(b"s", lambda: b"0-0", listener.note_ready)
        await link.run("XADD", b"s", "*", "f", 1)
        await until(lambda: listener.ready >= 2)
        return [weakref.ref(each) for each in (link, subscriber, reads)]


async def test_nothing_is_left(server: RedisServer, no_gc: None) -> None:
    await _use(server.url)  # what libraries make once
    gc.collect()
    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    left = await _use(server.url)
    assert (len(asyncio.all_tasks()), open_sockets()) == (tasks, sockets)
    await until(lambda: server.cli("CLIENT", "LIST").count("\n") <= 1)
    assert [each() for each in left] == [None] * 3


async def test_nothing_is_left_of_an_exchange_that_is_cancelled(server: RedisServer, no_gc: None) -> None:
    url = RedisURL.parse(server.url)
    wire = await Wire.dial(url, url.hosts[0], within=LIMIT)
    task = asyncio.create_task(wire.exchange([("BLPOP", "none", 0)], lambda _: None, within=LIMIT))
    await until(lambda: "cmd=blpop" in server.cli("CLIENT", "LIST"))
    task.cancel()
    await asyncio.wait([task])
    await wire.close()
    left = weakref.ref(wire)
    del task, wire
    assert left() is None


async def test_closed_in_the_middle_of_an_outage(server: RedisServer) -> None:
    sockets = open_sockets()
    for fault in (Nemesis.drop, Nemesis.cut, Nemesis.forget):
        async with Nemesis(server.port) as nemesis:
            link = Link(RedisURL.parse(server.url_at(nemesis.port)))
            subscriber, reads = Subscriber(link.url, link, node=b"n"), BlockingReads(link.url, link, node=b"n")
            listener = Listener()
            listener.subscribe(subscriber, b"news")
            reads.watch(b"s", lambda: b"0-0", listener.note_ready)
            await until(lambda listener=listener: listener.ready == 1)  # type: ignore[misc]
            waiting = [asyncio.ensure_future(link.run("PING")) for _ in range(3)]
            fault(nemesis)
            await asyncio.sleep(0.01)
            async with asyncio.timeout(SOON):
                await reads.close()
                await subscriber.close()
                await link.close()
            await asyncio.gather(*waiting, return_exceptions=True)
    assert len(asyncio.all_tasks()) == 1
    await until(lambda: open_sockets() == sockets)


async def test_what_a_frozen_redis_never_took_keeps_no_socket(server: RedisServer) -> None:
    sockets = open_sockets()
    async with a_link(server.url) as link:
        await link.run("PING")
        server.freeze()
        with pytest.raises(StoreAway):
            await link.run("SET", "key", b"x" * 50_000_000)
    await until(lambda: open_sockets() == sockets)
    server.thaw()


def test_redis_py_is_imported_when_it_is_needed() -> None:
    program = (
        "import sys\n"
        "from sseproxy.stores.redis import blocking, keyspace, link, subscriber, urls\n"
        "link.Link(urls.RedisURL.parse('redis://h'))\n"
        "assert 'redis' not in sys.modules and 'hiredis' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_redis_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    require_redis()
    monkeypatch.setattr("sseproxy.stores.redis.library.find_spec", lambda _: None)
    with pytest.raises(RedisMissing, match=r"pip install 'sseproxy\[redis\]'"):
        require_redis()
