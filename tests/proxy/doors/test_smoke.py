import asyncio
from tests.support.asgi_proxy import asgi_stage
from tests.support.raw_upstream import *
from tests.support.settled import eventually

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"

async def test_plain():
    async with asgi_stage(replies(OK)) as on:
        e = await on.exchange(b"/a%2Fb;c?x=1").run()
        assert e.body == b"ok" and e.is_whole and e.status == 200
        print(e.messages)
        print(on.upstream.received)

async def silent(visit):
    await visit.head()
    await asyncio.get_running_loop().create_future()

async def test_leave():
    async with asgi_stage(silent) as on:
        e = on.exchange().start()
        v = await on.upstream.visit()
        await eventually(lambda: v.requests)
        e.leave()
        await v.wait_closed()
        await e.finish()

async def test_stream_leave():
    async def script(visit):
        await visit.request()
        await visit.send(STREAM+EVENT)
        await asyncio.get_running_loop().create_future()
    async with asgi_stage(script) as on:
        e = on.exchange().start()
        await eventually(lambda: b"data: 1" in e.body)
        v = await on.upstream.visit()
        e.leave()
        await v.wait_closed()
        await e.finish()
        print(e.messages)
