"""Is the app's response an event stream of ours, and what may it say in one, or instead of one?"""

from sseproxy.asgi.types import Message
from sseproxy.core.http.fields import (
    Headers,
    end_to_end,
    get,
    get_all,
    is_json,
    tokens,
)
from sseproxy.core.limits import ERROR_BODY
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.kinds import MediaKind, kind_of, may_be_stream

_NAME_LENGTH = len(b"content-type")

#: Types of most responses that are no streams: to know one costs less than to look into it. Not a set, which would
#: refuse a `bytearray`, as servers do not.
_USUAL = (b"application/json", b"text/html; charset=utf-8", b"text/plain; charset=utf-8", b"text/html", b"text/plain")

#: Ways to send a file past the middleware: its events would not be seen, and no end of it.
_FILES = ("http.response.pathsend", "http.response.zerocopysend")


class Refusal:
    """A response that came after a stream was promised. is_whole: as much of it has come as there will be told."""

    def __init__(self, start: Message) -> None:
        self._status: int = start["status"]
        self._headers: Headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
        self._body = bytearray()
        self.is_whole = False
        self.is_cut = False  # there is more than we keep

    def receive(self, message: Message) -> None:
        """Take the next message of it. A file is not looked into."""
        if message["type"] == "http.response.body":
            body = body_of(message)
            self.is_cut = len(self._body) + len(body) > ERROR_BODY
            self._body += body[: ERROR_BODY - len(self._body)]
        elif message["type"] not in _FILES:
            return
        self.is_whole = self.is_cut or not message.get("more_body", False)

    def error(self) -> StreamError:
        retry_after = get(self._headers, b"retry-after")
        return StreamError(
            type="upstream_response",
            status=self._status,
            detail=f"The application answered {self._status}.",
            retry_after=None if retry_after is None else retry_after.decode("latin-1"),
            body=b"" if _is_coded(self._headers) else bytes(self._body),
        )


def stream_kind(start: Message) -> MediaKind | None:
    """Return the kind of stream that a response is; ``None`` if heartbeats cannot go into it."""
    headers = start.get("headers", ())
    if type(headers) is not list and not isinstance(headers, tuple):
        headers = start["headers"] = list(headers)
    seems_to = False
    for name, value in headers:
        if len(name) == _NAME_LENGTH and (name == b"content-type" or name.lower() == b"content-type"):
            # Nearly every response has one type, and a usual one: nothing is copied.
            seems_to = seems_to or (value not in _USUAL and may_be_stream(value))
    if not seems_to:
        return None
    fields: Headers = [(bytes(name), bytes(value)) for name, value in headers]
    return None if _is_coded(fields) else kind_of(start["status"], fields)


def is_late_json(start: Message) -> bool:
    """True if a response that came after a stream was promised is JSON, which can become an event of it (S8)."""
    fields: Headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
    return 200 <= start["status"] < 204 and is_json(fields) and not _is_coded(fields)


def head_of(start: Message, kind: MediaKind) -> Message:
    """Return the first message of a stream of `kind`, from the app's.

    Trailers go, as they do in the proxy: a stream that we end has none, and a server would wait for them.
    """
    headers = [(bytes(name), bytes(value)) for name, value in start["headers"]]
    head = {**start, "headers": kind.head(end_to_end(headers), decoded=False)}
    head.pop("trailers", None)
    return head


def body_of(message: Message) -> bytes:
    """Raises `TypeError` for a body that is not made of bytes."""
    body = message.get("body", b"")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"the body of an ASGI message has to be bytes, not {type(body).__name__}")


def goes_on(message: Message, *, has_begun: bool) -> bool:
    """Whether a message goes on to the server beside the bytes of a stream. has_begun: for the app, too.

    Raises `RuntimeError` for one that has no place there, as servers do.
    """
    kind = message["type"]
    if kind == "http.response.start" and has_begun:
        raise RuntimeError("the response has begun already, as an event stream: it cannot begin again")
    if kind == "http.response.body" and not has_begun:
        raise RuntimeError("the body of a response cannot come before its start")
    if kind in _FILES:
        raise RuntimeError(f"{kind} cannot be used in an event stream that is kept alive: send its bytes")
    return kind not in ("http.response.trailers", "http.response.early_hint")


def _is_coded(headers: Headers) -> bool:
    return any(coding != b"identity" for coding in tokens(get_all(headers, b"content-encoding")))
