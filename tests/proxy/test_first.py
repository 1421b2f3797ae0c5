"""x"""
from tests.support.proxy_server import stage
from tests.support.raw_upstream import OK, replies

async def test_one():
    async with stage(replies(OK)) as s:
        r = await s.client.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        print(r, s.upstream.received)
        assert r.status == 200
