# python -m aiohttp.web -H 127.0.0.1 -P 8000 examples.library.aiohttp_app:make_app
"""An aiohttp app with a login in front of the service behind it, which is kept alive and learns who asks.

Then: curl -N http://127.0.0.1:8000/v1/chat/completions --cookie session=ann --json '{"stream": true}'
"""

import os

from aiohttp import web
from aiohttp.typedefs import Handler

from sseproxy.aiohttp import reverse_proxy

SESSIONS = {"ann": "Ann"}


@web.middleware
async def login(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whom the cookie names: the service gets it as a header, and no client can write that header."""
    user = SESSIONS.get(request.cookies.get("session", ""))
    if user is None:
        raise web.HTTPUnauthorized(text="Log in first.\n")
    headers = request.headers.copy()
    headers["X-User"] = user
    return await handler(request.clone(headers=headers))


def make_app(_: list[str]) -> web.Application:
    proxy = reverse_proxy(
        os.environ.get("SERVICE", "http://127.0.0.1:9000"),
        heartbeat="1s",  # leave both out for 15 s, and for no answer before the service's
        before_response="1s",
    )
    app = web.Application(middlewares=[login])
    app.router.add_route("*", "/v1/{tail:.*}", proxy, expect_handler=proxy.expect)
    proxy.setup(app)
    return app
