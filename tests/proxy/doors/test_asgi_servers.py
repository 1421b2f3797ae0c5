"""What reaches an upstream, and what a client, through the proxy as an app of real ASGI servers?"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.asgi_proxy import UPSTREAM
from tests.support.asgi_servers import AsgiServer
from tests.support.async_peer import AsyncPeer
from tests.support.raw_upstream import OK, RawUpstream, Script, Visit, replies
from tests.support.settled import eventually

SERVERS = ["uvicorn-h11", "uvicorn-httptools", "hypercorn", "granian"]
GET = b"GET /a%2Fb;c//?x=%20+ HTTP/1.1\r\nHost: a.test\r\nX-Obs: caf\xe9\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"


class Servers:
    def __init__(self, tmp):
        self.tmp = tmp
        self.script = replies(OK)
        self.running = {}

    async def play(self, visit):
        await self.script(visit)

@contextlib.asynccontextmanager
async def served(name, script, tmp_path, monkeypatch, app="bare"):
    async with RawUpstream.serve(script) as upstream:
        monkeypatch.setenv(UPSTREAM, str(upstream.port))
        server = await asyncio.to_thread(AsgiServer, name, f"tests.proxy.doors.apps:{app}", tmp_path / "record")
        try:
            await asyncio.to_thread(server.wait_until_ready)
            async with AsyncPeer.connect(int(server.url.rpartition(":")[2])) as client:
                yield client, upstream, server
        finally:
            await asyncio.to_thread(server.stop)
            print(server.output.text)

@pytest.mark.parametrize("app", ["bare", "behind"])
@pytest.mark.parametrize("name", SERVERS)
async def test_all(name, app, tmp_path, monkeypatch):
    pre = b"/mount" if app == "behind" else b""
    async def script(visit):
        while True:
            r = await visit.request()
            print("UP", r.head if hasattr(r,'head') else r)
            t = r.start if hasattr(r,'start') else str(r)
            if b"/silent" in bytes(visit.received): 
                await asyncio.get_running_loop().create_future()
            if b"/stream" in bytes(visit.received):
                await visit.send(STREAM+EVENT)
                await asyncio.get_running_loop().create_future()
            if b"/broken" in bytes(visit.received):
                await visit.send(STREAM+EVENT)
                visit.close()
                return
            if b"/304" in r.head:
                await visit.send(b"HTTP/1.1 304 Not\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n")
                continue
            await visit.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Obs: caf\xe9\r\nContent-Length: 2\r\n\r\n" + (b"" if visit.received.startswith(b"HEAD") else b"ok"))
    async with served(name, script, tmp_path, monkeypatch, app) as (client, up, server):
        port = int(server.url.rpartition(":")[2])
        print("-> ", await client.ask(GET.replace(b"/a", pre+b"/a")))
        print("-> ", await client.ask(b"POST %b/p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" % pre))
        print("-> ", await client.ask(b"POST %b/p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"% pre))
        print("-> ", await client.ask(b"POST %b/p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"% pre))
        print("-> ", await client.ask(b"POST %b/p HTTP/1.1\r\nHost: a\r\n\r\n"% pre))
        print("-> ", await client.ask(b"GET %b/304 HTTP/1.1\r\nHost: a\r\n\r\n"% pre))
        print("-> ", await client.ask(b"GET %b/%%FF%%zz? HTTP/1.1\r\nHost: a\r\n\r\n"% pre))
        async with AsyncPeer.connect(port) as c:
            print("-> ", await c.ask(b"POST %b/p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"% pre))
            print("-> ", await c.ask(b"abc"))
        for req in (b"HEAD %b/p HTTP/1.1\r\nHost: a\r\n\r\n", b"GET %b/p HTTP/1.0\r\n\r\n", b"GET http://b.test%b/p HTTP/1.1\r\nHost: a\r\n\r\n", b"GET %b/p HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET %b/p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" , b"GET %b/broken HTTP/1.1\r\nHost: a\r\n\r\n", b"GET %b/a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"FOO %b/a HTTP/1.1\r\nHost: a\r\n\r\n"):
            async with AsyncPeer.connect(port) as c:
                await c.send(req % pre if b"%b" in req else req)
                try:
                    async with asyncio.timeout(1.5):
                        print("=>", req, "\n", await c.reader.read())
                except TimeoutError:
                    print("=> (open)", req, "\n", c.reader._buffer)
        for p in (b"/silent", b"/stream"):
            n = len(up.visits)
            c = AsyncPeer.connect(port)
            cc = await c.__aenter__()
            await cc.send(b"GET %b%b HTTP/1.1\r\nHost: a\r\n\r\n" % (pre, p))
            await eventually(lambda: any(p in bytes(v.received) for v in up.visits))
            v = [v for v in up.visits if p in bytes(v.received)][-1]
            if p == b"/stream": await cc.head()
            await asyncio.sleep(0.1)
            t = time.monotonic()
            await cc.close()
            await v.wait_closed()
            print("LEFT", p, time.monotonic() - t)
        print(server.wrongs())
