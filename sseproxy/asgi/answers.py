"""Is the app's response an event stream of ours, and what does it say if it comes too late to be one?"""

from sseproxy.asgi.types import Message
from sseproxy.core.dialects import StreamError
from sseproxy.core.headers import Headers, get, get_all, is_event_stream, tokens
from sseproxy.core.limits import ERROR_BODY

_NAME_LENGTH = len(b"content-type")


class Refusal:
    """A response that came after a stream was promised."""

    def __init__(self, start: Message) -> None:
        self._status: int = start["status"]
        self._headers: Headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
        self._body = bytearray()

    def receive(self, message: Message) -> None:
        self._body += message.get("body", b"")[: ERROR_BODY - len(self._body)]

    def error(self) -> StreamError:
        retry_after = get(self._headers, b"retry-after")
        return StreamError(
            type="upstream_response",
            status=self._status,
            detail=f"The application answered {self._status}.",
            retry_after=None if retry_after is None else retry_after.decode("latin-1"),
            body=b"" if _is_coded(self._headers) else bytes(self._body),
        )


def is_ours(start: Message) -> bool:
    """Whether a response is an event stream that heartbeats can go into (S11)."""
    headers = start.get("headers", ())
    if type(headers) is not list and not isinstance(headers, tuple):
        headers = start["headers"] = list(headers)
    for name, value in headers:
        if name == b"content-type" or (len(name) == _NAME_LENGTH and name.lower() == b"content-type"):
            # Nearly every response ends here, before anything is copied.
            return b"event-stream" in value.lower() and _can_take_heartbeats(start)
    return False


def _can_take_heartbeats(start: Message) -> bool:
    fields: Headers = [(bytes(name), bytes(value)) for name, value in start["headers"]]
    return is_event_stream(fields) and start["status"] not in (204, 304) and not _is_coded(fields)


def _is_coded(headers: Headers) -> bool:
    return any(coding != b"identity" for coding in tokens(get_all(headers, b"content-encoding")))
