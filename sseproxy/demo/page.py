"""Where does the browser get the demo's pages from?"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.resources import files

from aiohttp import web

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/resume/": ("resume.html", "text/html"),
}


@contextlib.asynccontextmanager
async def page_server(facts: Mapping[str, object]) -> AsyncIterator[int]:
    """Serve the page, and `facts` as /facts.json, on a free port of the loopback interface; yields the port.

    With a fact named redis there is a page at /push/, too.
    """

    async def answer_facts(_: web.Request) -> web.Response:
        return web.json_response(dict(facts))  # as they are now: the gateway's name is not known at first

    app = web.Application()
    directory = files("sseproxy.demo") / "page"
    for path, (name, content_type) in _FILES.items():
        app.router.add_get(path, _static((directory / name).read_bytes(), content_type))
    if "redis" in facts:
        app.router.add_get("/push/", _static((directory / "push.html").read_bytes(), "text/html"))
    app.router.add_get("/facts.json", answer_facts)
    async with local(app) as port:
        yield port


@contextlib.asynccontextmanager
async def local(app: web.Application) -> AsyncIterator[int]:
    """Serve `app` on a free port of the loopback interface; yields the port."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _static(body: bytes, content_type: str) -> _Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return answer
