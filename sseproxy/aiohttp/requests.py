"""What reaches the proxy of a request that aiohttp has read?

Head and body as they came, as far as aiohttp still has them. Of aiohttp this leans on things that are not promised
(`tests/aiohttp/proxy/test_leans.py` holds them):

- `request._message.compression` is the coding of the body that aiohttp undoes, unless the server was made with
  ``auto_decompress=False``, which is in `request.protocol._manager._kwargs`; `_message.upgrade` is whether what comes
  behind the request is kept as it is, for WebSockets;
- `request._read_bytes` is the body, once a middleware has read it;
- `request.protocol._messages` are the requests that wait behind this one. While a body is incomplete there is none,
  but for the error that aiohttp puts there where the body is malformed. Its reader waits on.
"""

import asyncio

from aiohttp import HttpVersion11, StreamReader, web

from sseproxy.core.errors import BadRequest
from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import Headers, get, without
from sseproxy.http1.content import RequestContent
from sseproxy.http1.policy import READ_OFF
from sseproxy.http1.requests import ParsedRequest

#: Set by `AiohttpDoor.expect`: aiohttp has not asked for the body by itself.
NOT_ASKED = web.RequestKey("sseproxy_not_asked", bool)

#: Methods of RTSP and ICE: llhttp reads them only with such a version, which aiohttp takes for one of HTTP.
_NOT_HTTP = frozenset(
    (
        "SOURCE", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER",
        "REDIRECT", "RECORD", "FLUSH",
    )
)  # fmt: skip

#: Fields about a coded body. None is true of what aiohttp has decoded.
_OF_CODED_BODY = frozenset(
    (b"content-digest", b"content-length", b"content-md5", b"digest", b"repr-digest", b"transfer-encoding")
)

_MALFORMED = "The request body is malformed."


class RequestBody:
    """The body of one request, on its way from aiohttp's reader. `start` comes first, and `close` has to follow.

    length: that it has to have; ``None`` if only its end will tell. content: where it goes.
    """

    # Plan: a body that is here already is handed on at once. Of any other a task takes what aiohttp has, and waits
    # while `content` holds; then aiohttp's reader fills up, and aiohttp stops reading from the connection.
    #
    # 1. `content` ends as complete only if all of the body has come through here: the upstream would take whatever
    #    follows on its connection for the rest.
    # 2. Behind `close` nothing reads: aiohttp reads what is left, and throws it away.
    #
    # Hazard: a middleware may have read some of the body from `request.content`, which then is missing here.

    def __init__(self, request: web.BaseRequest) -> None:
        self._reader: StreamReader = request.content
        self._behind = request.protocol._messages
        self._taken = 0
        self._room = _Room()
        self._task: asyncio.Task[None] | None = None
        self.length: int | None = None
        self.content = RequestContent(self._room.hold)

    def start(self) -> None:
        """Begin to hand it on."""
        if not self.content.is_complete:
            self._task = asyncio.get_running_loop().create_task(self._pass_on())

    def take_whole(self, read: bytes | None) -> bytes | None:
        """Hand it on at once, and return it, if it is here already. read: what a middleware has read.

        Raises `BadRequest` if it cannot be read.
        """
        if read is not None:
            self.content.feed(read)
            self.content.end()
            return read
        if not self._reader.is_eof():
            return None
        try:
            whole = self._reader.read_nowait(-1)
        except Exception as error:  # noqa: BLE001 - of the coding or the framing
            raise BadRequest(_MALFORMED, cause=repr(error)) from None
        self._take(whole)
        self._end()
        return whole

    def look(self) -> None:
        """Fail if the body turns out to be malformed in what aiohttp has read since."""
        if self._behind and not self._reader.is_eof():
            self.content.fail(BadRequest(_MALFORMED))

    async def read_off(self) -> bool:
        """Throw away what still comes, for a while. Return whether it came to its end.

        aiohttp would do so for its `lingering_time`, and would not notice that the client leaves.
        """
        self.content.drop()
        await asyncio.wait((self.content.ended,), timeout=READ_OFF)
        return self.content.is_complete

    async def close(self) -> None:
        """Read no more. Who still waits for the rest, such as the producer of a run, gets an error."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})  # aiohttp's reader bears one who waits
        self.content.fail(BadRequest("The request body broke off."))

    async def _pass_on(self) -> None:
        try:
            while piece := await self._reader.readany():
                self._take(piece)
                self.look()
                await self._room.wait()
            self._end()
        except asyncio.CancelledError as error:
            release_frames(error)
            raise
        except Exception as error:  # noqa: BLE001 - of the connection, the coding or the framing
            self.content.fail(BadRequest(_MALFORMED, cause=repr(error)))
            release_frames(error)

    def _take(self, piece: bytes) -> None:
        self._taken += len(piece)
        if piece:
            self.content.feed(piece)

    def _end(self) -> None:
        if self._taken == self._reader.total_bytes and self.length in (None, self._taken):
            self.content.end()
        else:
            cause = "a middleware has read some of it from `request.content`, instead of by `request.read()`"
            self.content.fail(BadRequest("The request body is not complete.", cause=cause))


class _Room:
    """Whether more of a body may come. Leads to no body, or there would be a circle of references."""

    def __init__(self) -> None:
        self._awaited: asyncio.Future[None] | None = None

    def hold(self, is_full: bool) -> None:
        """See `RequestContent`."""
        if is_full:
            self._awaited = asyncio.get_running_loop().create_future()
        elif self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            if not awaited.done():
                awaited.set_result(None)

    async def wait(self) -> None:
        """Wait while there is none."""
        if self._awaited is not None:
            await self._awaited


def read_request(request: web.BaseRequest) -> tuple[ParsedRequest, RequestBody | None]:
    """Return the head of a request, and its body if there is one. Raises `BadRequest`.

    aiohttp reads more than is allowed here, so the proxy has to look closer at the head, as at any other.
    """
    if request.method in _NOT_HTTP:
        raise BadRequest("The request is not valid HTTP.", cause="a method of another protocol")
    if not request.raw_path.isascii():
        raise BadRequest("The request target contains a character that has to be encoded.")
    headers: Headers = list(request.raw_headers)
    if NOT_ASKED not in request and request.version >= HttpVersion11:
        headers = without(headers, {b"expect"})  # aiohttp has asked for the body by itself
    body = None
    if request.body_exists:
        body = RequestBody(request)
        if _is_decoded(request):
            headers = _decoded(headers, request, body)
        else:
            length = get(headers, b"content-length")
            body.length = int(length) if length is not None and length.isdigit() else None
            body.take_whole(request._read_bytes)
    message = request._message
    parsed = ParsedRequest(
        request.method,
        request.raw_path,
        f"{request.version.major}.{request.version.minor}",
        headers,
        # Hazard: the last trailer of a body in chunks becomes a field of the next request (aiohttp 3.14).
        request.keep_alive and not message.chunked,
        message.upgrade and request.headers.get("Upgrade", "").lower() == "websocket",
        None if body is None else body.content,
    )
    return parsed, body


def _is_decoded(request: web.BaseRequest) -> bool:
    manager = request.protocol._manager
    options = {} if manager is None else manager._kwargs
    return request._message.compression is not None and bool(options.get("auto_decompress", True))


def _decoded(headers: Headers, request: web.BaseRequest, body: RequestBody) -> Headers:
    """Return the fields of a request from whose body aiohttp takes the last coding."""
    fields = without(headers, _OF_CODED_BODY)
    codings = [number for number, (name, _) in enumerate(fields) if name.lower() == b"content-encoding"]
    if codings:
        del fields[codings[-1]]
    whole = body.take_whole(request._read_bytes)
    if whole is not None:
        return [*fields, (b"Content-Length", b"%d" % len(whole))]
    if request.version < HttpVersion11:
        raise BadRequest("A coded request body has to be sent with HTTP/1.1, or in one piece with the head.")
    return [*fields, (b"Transfer-Encoding", b"chunked")]
