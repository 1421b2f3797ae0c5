import asyncio, logging, sys, time
logging.basicConfig(level=logging.INFO)
from tests.support.redis_server import RedisServer
from tests.support.redis_stands import ClusterStand, SentinelStand
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.subscriber import Subscriber
from sseproxy.stores.redis.blocking import BlockingReads
from sseproxy.stores.redis.keyspace import rings
from sseproxy.stores.redis.urls import RedisURL
async def main(url):
    url = RedisURL.parse(url)
    link = Link(url); sub = Subscriber(url, link, node=b"n1"); br = BlockingReads(url, link, node=b"n1")
    print(await link.run("PING"), link.state)
    print(await link.run_all([("SET","a",1),("LPUSH","a",1),("GET","a")]))
    got=[]; ready=[]
    sub.subscribe(b"ch", got.append, lambda: ready.append(1))
    while not ready: await asyncio.sleep(0.01)
    print(await link.run("PUBLISH","ch","hello"))
    while not got: await asyncio.sleep(0.01)
    print(got, await rings(link, sub, node=b"n1"))
    if br.can_block:
        bells=[]
        br.watch(b"s1", lambda: b"0-0", lambda: bells.append(time.monotonic()))
        br.watch(b"a", lambda: b"0-0", lambda: bells.append(time.monotonic()))
        await asyncio.sleep(0.2)
        t=time.monotonic()
        await link.run("XADD","s1","*","f",1)
        while not bells: await asyncio.sleep(0.001)
        print("bell after", bells[0]-t)
    t=time.monotonic()
    await asyncio.gather(*[link.run("SET",f"k{i}",i) for i in range(5000)])
    print("5000 in", time.monotonic()-t)
    await br.close(); await sub.close(); await link.close()
    print(len(asyncio.all_tasks()))
which=sys.argv[1]
if which=="server":
    with RedisServer(notifications="KEA", password="geheim") as s: asyncio.run(main(s.url))
if which=="cluster":
    with ClusterStand() as s: asyncio.run(main(s.url))
if which=="sentinel":
    with SentinelStand() as s: asyncio.run(main(s.url))
