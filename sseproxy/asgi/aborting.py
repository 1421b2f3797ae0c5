"""How is a response broken off, whichever middleware stands between the app and the server?"""

import asyncio
import contextlib

from sseproxy.asgi.later import begin_later
from sseproxy.asgi.types import Send

#: What no server and no middleware takes for a part of a response, or for its end.
_ABORT = {"type": "sseproxy.abort", "body": object(), "more_body": True}
#: Seconds in which it has to come through, to a client that takes what came before it.
_ABORT_TIME = 5.0


async def break_in_front(send: Send) -> None:
    """Let a middleware in front fail, before the app raises, or returns without an end.

    Hazard: `BaseHTTPMiddleware` of Starlette completes the response of an app that ends behind the head. It does not
    if it comes upon a message that it cannot read. Servers refuse to send that, and do nothing else.
    """
    aborting = begin_later(_send_abort(send))
    await asyncio.wait({aborting}, timeout=_ABORT_TIME)
    aborting.cancel()


async def _send_abort(send: Send) -> None:
    with contextlib.suppress(Exception):
        await send({**_ABORT})
