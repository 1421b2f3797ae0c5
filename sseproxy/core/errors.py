"""What can go wrong with a request, whose fault is it, and what status does it deserve?

    SSEProxyError
    ├── ClientError                 the request is at fault
    │   ├── BadRequest              400
    │   ├── AccessDenied            401 or 403, as the service says that `authorize` asks
    │   ├── ForeignOrigin           403
    │   ├── RouteNotFound           404
    │   ├── TicketNotFound          404
    │   ├── RunNotFound             404
    │   ├── MethodRefused           405
    │   ├── PositionGone            410
    │   ├── RequestTooLarge         413
    │   ├── ExpectationFailed       417
    │   ├── HeadersTooLarge         431
    │   └── MethodUnknown           501
    ├── Unavailable                 503, sseproxy is at fault
    │   ├── TooManyConnections
    │   ├── TooManyStreams
    │   ├── OutOfDescriptors
    │   ├── AuthorizeFailed         the service that `authorize` asks is at fault
    │   ├── StoreFull
    │   ├── StoreAway
    │   └── Draining
    ├── LoopDetected                508, the request has been here before
    ├── ReplyError                  500, the store is there and refuses a command
    ├── InternalError               500, a defect of sseproxy
    └── OriginError                 502, the upstream is at fault
        ├── ConnectError            502, no connection
        ├── UpstreamBroken          502, the connection broke or what came is not HTTP
        │   └── RequestBroken       the client broke it: the rest of its request body will not come
        ├── ResponseTimeout         504
        └── ReaderBehind            the client reads too slowly for a stream that waits for no reader

`detail` is meant for the client: it never holds an address or a path of this machine. `cause` says the same
for the log, in full.
"""

from collections.abc import Sequence

from sseproxy.core.http.fields import Headers
from sseproxy.core.stream.transfer import CloseReason


class SSEProxyError(Exception):
    """Root of all errors. Not raised itself."""

    status = 500
    title = "Internal Server Error"
    proxy_status: str | None = None  # an error type of RFC 9209 section 2.3

    def __init__(self, detail: str, *, cause: str | None = None) -> None:
        super().__init__(detail if cause is None else f"{detail.removesuffix('.')}: {cause}")
        self.detail = detail
        self.retry_after: int | None = None


class ClientError(SSEProxyError):
    """The request is at fault. Not raised itself."""

    proxy_status: str | None = "http_request_error"


class BadRequest(ClientError):
    """Malformed or ambiguous HTTP (RFC 9112 sections 3.2, 5 and 6.3)."""

    status = 400
    title = "Bad Request"


class AccessDenied(ClientError):
    """The service that `authorize` asks has said no (RFC 9110 sections 15.5.2 and 15.5.4). Its answer goes on.

    reason, headers, body: of the response.
    """

    proxy_status = None

    def __init__(self, status: int, reason: bytes, headers: Headers, body: bytes) -> None:
        super().__init__("Access is denied.", cause=f"authorize was answered {status}")
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body


class ForeignOrigin(ClientError):
    """A page of this origin may not send such a request (Fetch standard, CORS protocol)."""

    status = 403
    title = "Forbidden"
    proxy_status = None


class RouteNotFound(ClientError):
    """No route matches."""

    status = 404
    title = "Not Found"
    proxy_status = None


class TicketNotFound(ClientError):
    """A ticket is unknown, expired, or bound to another client; the response does not say which."""

    status = 404
    title = "Not Found"
    proxy_status = None


class RunNotFound(ClientError):
    """A run is unknown, forgotten, or of another login; the response does not say which."""

    status = 404
    title = "Not Found"
    proxy_status = None


class MethodRefused(ClientError):
    """CONNECT and TRACE (RFC 9110 section 9.3), and what the route does not answer.

    allowed: the methods that it does answer (RFC 9110 section 10.2.1); empty: those that any route may.
    """

    status = 405
    title = "Method Not Allowed"

    def __init__(self, detail: str, *, allowed: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.allowed = tuple(allowed)


class PositionGone(ClientError):
    """What the request names is no longer kept, or is the end of a stream (RFC 9110 section 15.5.11)."""

    status = 410
    title = "Gone"
    proxy_status = None


class RequestTooLarge(ClientError):
    """The body is larger than the route allows."""

    status = 413
    title = "Content Too Large"


class ExpectationFailed(ClientError):
    """An expectation other than 100-continue (RFC 9110 section 10.1.1)."""

    status = 417
    title = "Expectation Failed"


class HeadersTooLarge(ClientError):
    """Request line or header fields beyond the limits (RFC 6585 section 5)."""

    status = 431
    title = "Request Header Fields Too Large"


class MethodUnknown(ClientError):
    """A method that the parser has no name for (RFC 9110 section 9.1)."""

    status = 501
    title = "Not Implemented"


class LoopDetected(SSEProxyError):
    """The request has passed this instance before (RFC 9110 section 7.6.3, RFC 5842 section 7.2)."""

    status = 508
    title = "Loop Detected"
    proxy_status = "proxy_loop_detected"


class Unavailable(SSEProxyError):
    """sseproxy cannot serve this now. `retry_after` is in seconds."""

    status = 503
    title = "Service Unavailable"

    def __init__(self, detail: str, *, retry_after: int, cause: str | None = None) -> None:
        super().__init__(detail, cause=cause)
        self.retry_after = retry_after


class TooManyConnections(Unavailable):
    """As many clients are connected as may be, and each has a request under way."""

    proxy_status = "connection_limit_reached"


class TooManyStreams(Unavailable):
    """A limit on open streams is reached."""

    proxy_status = "connection_limit_reached"


class OutOfDescriptors(Unavailable):
    """The process has as many files and sockets open as it may have."""

    proxy_status = "connection_limit_reached"


class AuthorizeFailed(Unavailable):
    """Whether the request may go on is not known: the service that `authorize` asks has not said yes or no."""


class StoreFull(Unavailable):
    """No more requests can be kept for later."""


class StoreAway(Unavailable):
    """Redis cannot be reached, is not ready, or does not answer in time. The command may have been executed."""


class Draining(Unavailable):
    """The process is on its way out."""


class ReplyError(SSEProxyError):
    """Redis refuses a command. `code` is the first word of its `reply`: ``WRONGTYPE``, ``OOM``, ``NOPERM``, ``ERR``."""

    def __init__(self, reply: str) -> None:
        # An unknown command is repeated in the reply, with all that it holds.
        said = "ERR unknown command" if "unknown command" in reply.lower() else reply[:200]
        super().__init__("The store refused a command.", cause=said)
        self.reply = said
        self.code = said.partition(" ")[0]


class InternalError(SSEProxyError):
    """A defect of sseproxy; the log has the traceback."""

    proxy_status = "proxy_internal_error"


class OriginError(SSEProxyError):
    """The upstream is at fault. Not raised itself. `reason` is how the stream ended."""

    status = 502
    title = "Bad Gateway"
    reason = CloseReason.UPSTREAM_ERROR

    def __init__(self, detail: str, *, proxy_status: str, cause: str | None = None) -> None:
        super().__init__(detail, cause=cause)
        self.proxy_status = proxy_status


class ConnectError(OriginError):
    """No connection to the upstream: name, network, TLS or time."""

    reason = CloseReason.CONNECT_ERROR


class UpstreamBroken(OriginError):
    """The connection ended too early, or what came over it is not HTTP."""


class RequestBroken(UpstreamBroken):
    """The client's request body broke off after the response had begun."""

    reason = CloseReason.CLIENT_ERROR


class ResponseTimeout(OriginError):
    """No response head in time."""

    status = 504
    title = "Gateway Timeout"
    reason = CloseReason.RESPONSE_TIMEOUT


class ReaderBehind(OriginError):
    """What the client has not read yet is no longer kept, and no event can say so to it."""

    reason = CloseReason.BEHIND
