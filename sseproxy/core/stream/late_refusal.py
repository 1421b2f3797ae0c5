"""What does a client get for a late response that is neither a stream nor JSON, and does it ask again?

Late is what comes behind an early answer (`before_response`). The proxy and both middlewares decide it here.
"""

from collections.abc import Callable

from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers, get
from sseproxy.core.stream.end_message import EndMessage
from sseproxy.core.stream.error_events import StreamError

#: Statuses that a client gets again if it comes back.
_FINAL = frozenset((204, 401, 403, 404, 410))

_NO_CONTENT = 204

#: Makes the end message for a client that would ask again; it costs a signature, and most clients never need it.
FinalMessage = Callable[[], EndMessage]


@frozen
class LateRefusal:
    """The last words behind an early answer. error: as an event. end_message: behind it, and the end is clean then."""

    error: StreamError | None
    end_message: EndMessage | None = None


def answered(who: str, status: int, reason: bytes, headers: Headers) -> str:
    """Return the detail of an error that says what came in place of what was promised. who: has answered so."""
    text = f"{who} answered {status} {reason.decode('latin-1')}".rstrip()
    media = (get(headers, b"content-type") or b"").partition(b";")[0].strip()
    if 200 <= status < 300 and media:
        text += f" with {media.decode('latin-1')}"
    return f"{text}."


def late_refusal(error: StreamError, final_message: FinalMessage | None) -> LateRefusal:
    """Return what becomes of a response that `error` describes.

    final_message: of a client that asks again by itself (`StreamRequest.asks_again`); ``None`` for any other client.
    """
    if final_message is None or error.status not in _FINAL:
        return LateRefusal(error)
    # A 204 says that there is nothing more, which is no error.
    return LateRefusal(None if error.status == _NO_CONTENT else error, final_message())
