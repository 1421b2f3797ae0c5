"""What does an event cost in a proxy as people write it with aiohttp?

python -m benchmarks.ordinary PORT ORIGIN_PORT
"""

import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

ORIGIN = web.AppKey("origin", str)
SESSION = web.AppKey("session", ClientSession)
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"}


async def forward(request: web.Request) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    url = request.app[ORIGIN] + request.path_qs
    async with request.app[SESSION].request(request.method, url, headers=headers, data=request.content) as response:
        kept = {name: value for name, value in response.headers.items() if name.lower() not in HOP_BY_HOP}
        out = web.StreamResponse(status=response.status, headers=kept)
        await out.prepare(request)
        async for chunk in response.content.iter_any():
            await out.write(chunk)
        await out.write_eof()
        return out


async def session(app: web.Application) -> AsyncIterator[None]:
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=None), auto_decompress=False) as made:
        app[SESSION] = made
        yield


def main(port: int, origin: int) -> None:
    app = web.Application()
    app[ORIGIN] = f"http://127.0.0.1:{origin}"
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=port, backlog=8192, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
