"""Has the client of a request come back behind its end, and which last words keep it from doing so?

An app has nothing to say about clean ends, as a route of the proxy has. What is ended here is the reconnecting of a
client that would get a late refusal again and again; see `core/stream/late_refusal`.
"""

import secrets
import time

from sseproxy.asgi.options import StreamOptions
from sseproxy.asgi.requests import stream_request
from sseproxy.asgi.types import Scope, Send
from sseproxy.core.eventsource.end_id import EndScope
from sseproxy.core.eventsource.end_signer import KEY, EndSigner
from sseproxy.core.http.fields import get, get_all
from sseproxy.core.stream.end_message import EndMessage

#: In place of the name of a route.
_ROUTE = "app"


def new_signer(secret: str) -> EndSigner:
    """Return what names the ends of one app. secret: of all that answer each other's clients; empty: made up."""
    return EndSigner(secret.encode() or secrets.token_bytes(KEY), clock=time.time, random=secrets.token_bytes)


async def answer_with_nothing(send: Send) -> None:
    """Answer a client that has seen the end of what it asks for: a 204 stops it (WHATWG HTML section 9.2.2)."""
    await send({"type": "http.response.start", "status": 204, "headers": [(b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class RequestEnd:
    """The end of what one GET asks for.

    Make it before the app gets the request: apps change what their scope says of login and path.

    is_known: the client has seen this end, and has come back by itself. It gets a 204, and the app no call.
    """

    __slots__ = ("_scope", "_signer", "is_known")

    def __init__(self, signer: EndSigner, scope: Scope, options: StreamOptions) -> None:
        self._signer = signer
        self._scope = _end_scope(scope)
        last = get(scope["headers"], b"last-event-id")
        self.is_known = (
            last is not None
            and signer.recognises(last, self._scope)
            and stream_request(scope, options, None).may_come_back
        )

    def message(self, *, id_has_event: bool) -> EndMessage:
        """Return the last words. id_has_event: as in `EndMessage`."""
        return self._signer.message(self._scope, id_has_event=id_has_event)


def _end_scope(scope: Scope) -> EndScope:
    """Return what an end is signed for, as the proxy signs for a route without a login of its own.

    Where a server gives no raw path, targets that differ in what is percent-encoded have the same ends.
    """
    headers = scope["headers"]
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    target = b"?".join((path, scope.get("query_string", b""))).decode("utf-8", "surrogateescape")
    login = tuple(get_all(headers, b"authorization"))
    return EndScope(_ROUTE, scope["method"], get(headers, b"host") or b"", target, login)
