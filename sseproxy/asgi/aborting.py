"""How is a response broken off, whichever middleware stands between the app and the server?"""

import contextlib

from sseproxy.asgi.types import Send

#: What no server and no middleware takes for a part of a response, or for its end.
_ABORT = {"type": "sseproxy.abort", "body": object(), "more_body": True}


async def break_in_front(send: Send) -> None:
    """Let a middleware in front fail, before the app raises, or returns without an end.

    Hazard: `BaseHTTPMiddleware` of Starlette completes the response of an app that ends behind the head. It does not
    if it comes upon a message that it cannot read. Servers refuse to send that, and do nothing else.

    Hazard: a client that takes nothing keeps the message waiting. The app must not end before, or such a client, when
    it reads on, would find the response complete. The server has its connection for as long anyway.
    """
    with contextlib.suppress(Exception):
        await send({**_ABORT})
