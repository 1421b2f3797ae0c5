"""Is the app's response an event stream to keep alive, and what of it goes to the server, in which shape?"""

from sseproxy.asgi.types import Message
from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers, end_to_end, get, get_all, is_json, tokens
from sseproxy.core.stream.json_answer import JSON_ANSWER, may_be_the_answer
from sseproxy.core.stream.kinds import MediaKind, kind_of, may_be_stream
from sseproxy.core.stream.late_refusal import FinalMessage

_NAME_LENGTH = len(b"content-type")

#: Types of most responses that are no streams: to know one costs less than to look into it. Not a set, which would
#: refuse a `bytearray`, as servers do not.
_USUAL = (b"application/json", b"text/html; charset=utf-8", b"text/plain; charset=utf-8", b"text/html", b"text/plain")

#: Messages that send a file past the middleware: its events would not be seen, and no end of it.
FILES = ("http.response.pathsend", "http.response.zerocopysend")


@frozen
class Opening:
    """How a stream begins. head: its first message, for the server. is_early: the app has not responded.

    final_message: of the client, for a late refusal; see `late_refusal`. waited: the seconds for which an early one has
    waited for the app; ``None`` if that does not matter.
    """

    kind: MediaKind
    head: Message
    is_early: bool = False
    final_message: FinalMessage | None = None
    waited: float | None = None

    @classmethod
    def early(
        cls, kind: MediaKind, final_message: FinalMessage | None = None, *, waited: float | None = None
    ) -> "Opening":
        """Return the beginning of a stream of `kind` that the app has not begun."""
        headers = [(name.lower(), value) for name, value in kind.promised_head()]  # as ASGI wants them
        head = {"type": "http.response.start", "status": 200, "headers": headers}
        return cls(kind, head, is_early=True, final_message=final_message, waited=waited)

    @classmethod
    def by_app(cls, start: Message, kind: MediaKind) -> "Opening":
        """Return the beginning of the stream of `kind` that a response is; see `stream_kind`.

        Trailers go, as they do in the proxy: a stream that the middleware ends has none, and a server would wait for
        them.
        """
        head = {**start, "headers": kind.head(end_to_end(fields_of(start)), decoded=False)}
        head.pop("trailers", None)
        return cls(kind, head)


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
    fields = fields_of(start)
    return None if is_coded(fields) else kind_of(start["status"], fields)


def is_late_json(start: Message, kind: MediaKind) -> bool:
    """True if a response is JSON that goes on behind an early answer of `kind`: as an event, or as it is."""
    fields = fields_of(start)
    status: int = start["status"]
    if not is_json(fields) or is_coded(fields):
        return False
    if kind is JSON_ANSWER:
        return may_be_the_answer(status) and get(fields, b"content-length") != b"0"
    return 200 <= status < 204


def fields_of(start: Message) -> Headers:
    """Return the header fields of a response as bytes, whatever the app made them of."""
    return [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]


def is_coded(headers: Headers) -> bool:
    """True if a response has a content coding."""
    return any(coding != b"identity" for coding in tokens(get_all(headers, b"content-encoding")))


def body_of(message: Message) -> bytes:
    """Return the body of a message. Raises `TypeError` if it is not made of bytes."""
    body = message.get("body", b"")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"the body of an ASGI message has to be bytes, not {type(body).__name__}")


def goes_on(message: Message, *, has_begun: bool) -> bool:
    """True if a message goes on to the server beside the bytes of a stream. has_begun: the app's response has.

    Raises `RuntimeError` for one that has no place there, as servers do.
    """
    kind = message["type"]
    if kind == "http.response.start" and has_begun:
        raise RuntimeError("the response has begun already, as an event stream: it cannot begin again")
    if kind == "http.response.body" and not has_begun:
        raise RuntimeError("the body of a response cannot come before its start")
    if kind in FILES:
        raise RuntimeError(f"{kind} cannot be used in an event stream that is kept alive: send its bytes")
    return kind not in ("http.response.trailers", "http.response.early_hint")
