"""Does a proxy inside another server serve routes from a real Redis, and know whether it is there?"""

import asyncio
import time

from sseproxy.proxy import ReverseProxy
from sseproxy.proxy.backing.readiness import Status
from tests.proxy.test_library import event_source
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually


def proxy_of(redis: RedisServer, *, needs_only_redis: bool = True) -> ReverseProxy:
    routes: list[dict[str, object]] = [{"match": {"path": "/"}, "redis": {"stream": "news"}}]
    if not needs_only_redis:
        routes.append({"upstream": "http://127.0.0.1:9"})
    return ReverseProxy(routes=routes, store={"url": redis.url, "timeout": "1s"}, heartbeat=None)


async def test_an_entry_of_a_stream_reaches_its_client() -> None:
    with RedisServer() as redis:
        async with proxy_of(redis) as proxy:
            await eventually(lambda: proxy.readiness().status is Status.READY)
            stream = event_source(proxy)
            await eventually(lambda: proxy.open_streams == 1 and bool(stream.messages))
            until = time.monotonic() + 60
            while b"data: hello" not in stream.body:  # a client that begins at the end gets what comes from then on
                assert time.monotonic() < until
                await asyncio.to_thread(redis.cli, "XADD", "news", "*", "data", "hello")
                await asyncio.sleep(0.01)
            stream.leave()
            await stream.finish()


async def test_one_that_was_reached_and_is_away_is_named_and_counts_only_if_all_need_it() -> None:
    with RedisServer() as redis:
        async with proxy_of(redis) as alone, proxy_of(redis, needs_only_redis=False) as mixed:
            await eventually(lambda: {alone.readiness().status, mixed.readiness().status} == {Status.READY})
            redis.kill()
            await eventually(lambda: alone.readiness().status is Status.AWAY)
            await eventually(lambda: mixed.readiness().away == ["redis"])
            assert mixed.readiness().status is Status.READY
