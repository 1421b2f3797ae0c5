"""How does a response get onto a client's connection? (RFC 9112 sections 6 and 7)

Head and body framing are written here: fields stay as the upstream sent them, and a chunk is one synchronous write.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from http import HTTPStatus
from typing import Protocol

from sseproxy.core.frames import release_frames
from sseproxy.core.http.fields import Headers, get, without
from sseproxy.core.stream.kinds import is_of_a_kind
from sseproxy.http1.framing import (
    CHUNK,
    CHUNK_END,
    CHUNK_SIZE,
    CONTINUE,
    LAST_CHUNK,
    LAST_CHUNK_WITH,
    NEWEST_CHUNK,
    Framing,
    chunked,
    http_date,
    response_head,
)
from sseproxy.http1.reset import reset_when_delivered
from sseproxy.http1.sockets import acknowledged, unacknowledged
from sseproxy.http1.treatment import ResponseTreatment

_ORDINARY_WRITE_BUFFER = 64 * 1024  # asyncio's own default
_WORTH_A_COPY = 16 * 1024  # bytes: below, one piece is cheaper to write than three


class _Delivery(Enum):
    ORDINARY = "the transport keeps what the network does not take yet"
    LIVE = "the first byte that waits is reported: `pause_writing`"
    BREAKING = "live, and the stream has ended without the end of its body"


class ResponseConnection(Protocol):
    """What a response needs of the client's connection, whichever server has it.

    gathers: the transport sends several pieces in one call. writing_paused: it has asked for no more. socket: ``None``
    when it is closed.
    """

    transport: asyncio.Transport | None
    gathers: bool
    writing_paused: bool

    @property
    def socket(self) -> socket.socket | None: ...

    async def wait_until_writable(self) -> None:
        """Until what was written has gone, as far as the transport wants it gone. Raises `ConnectionError`."""

    # Another protocol, behind a 101.

    def switch_to_raw(self, sink: Callable[[bytes], None]) -> bytes: ...

    def pause_raw_reading(self) -> None: ...

    def resume_raw_reading(self) -> None: ...


class HttpDownstream:
    """The response to one request.

    treatment: how it is written; it may be replaced until the head is sent. keep_alive: another request may follow.
    on_untellable: called for a broken end that the client cannot tell from a clean one.
    """

    # The plan: `send_head` chooses the framing, `write` follows it, and exactly one of `finish`, `abort` and
    # `abort_at_once` ends the body. `wait_until_flushed` comes last and leaves the connection as it was before.
    #
    # 1. What is written in one call leaves in one write: a chunk with its framing, a held head with the first bytes
    #    behind it. Nothing waits here but a held head.
    # 2. After `abort` no client that can tell a broken end takes the response for complete: the last chunk is missing,
    #    or the length is not reached; where closing *is* the end (HTTP/1.0) the connection is reset.
    # 3. `keep_alive` only ever changes to False.
    #
    # Hazards: a reset makes the client's kernel forget what its program has not read, so all is acknowledged first;
    # a unix socket has no reset (`on_untellable`); Node's fetch takes every end of a response that says
    # ``Connection: close`` for a clean one; over TLS a write buffer limit of 0 pauses after every write.

    __slots__ = (
        "_connection",
        "_delivery",
        "_framing",
        "_gathers",
        "_has_asked",
        "_held",
        "_is_chunked",
        "_linger",
        "_on_untellable",
        "_resetting",
        "_trailer",
        "_transport",
        "keep_alive",
        "status",
        "treatment",
    )

    def __init__(
        self,
        connection: ResponseConnection,
        treatment: ResponseTreatment,
        *,
        on_untellable: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._gathers = connection.gathers
        self._framing = Framing.NONE
        self._is_chunked = False  # what the framing says, for each event
        self._delivery = _Delivery.ORDINARY
        self._held = b""  # a head that waits for the first bytes of its body
        self._resetting: asyncio.Task[None] | None = None
        self._linger = treatment.linger
        self._has_asked = False  # for the request body
        self._trailer: tuple[bytes, Callable[[], bytes]] | None = None  # a name, and what gives its value
        self._on_untellable = on_untellable
        self.treatment = treatment
        self.keep_alive = treatment.keep_alive
        self.status: int | None = None

    @property
    def started(self) -> bool:
        """Whether a head has been sent."""
        return self.status is not None

    @property
    def raw(self) -> ResponseConnection:
        """What speaks another protocol behind a 101."""
        return self._connection

    # Sending.

    def send_head(
        self, status: int, reason: bytes, headers: Headers, *, length: int | None, has_body: bool, hold: bool = False
    ) -> None:
        """Send the head. length: of the body, if `headers` declare one; else the framing is chosen here.

        hold: until there is a body to go with it, or until `release_head` is called, which has to be soon.
        """
        self.status = status
        headers = self.treatment.fields(headers)
        if not has_body or self.treatment.is_head:
            self._framing = Framing.NONE
        elif length is not None:
            self._framing = Framing.LENGTH
        else:
            self._framing = Framing.CHUNKED if self.treatment.is_11 else Framing.CLOSE
        self._is_chunked = self._framing is Framing.CHUNKED
        # A 205 has no body (RFC 9110 section 15.3.6). Browsers take its word for that, and one that comes all the same
        # for the next response.
        reset_with_body = status == HTTPStatus.RESET_CONTENT and self._framing is not Framing.NONE and length != 0
        # A client that was not asked for its body may send it or not, and a proxy in between may expect either.
        was_not_asked = self.treatment.awaits_continue and not self._has_asked
        # Hazard: a client sends its next request on a connection that closes without a word. A stream has none.
        is_last = self.treatment.is_last and not self._may_break_late(headers)
        if self._framing is Framing.CLOSE or reset_with_body or was_not_asked or is_last:
            self.keep_alive = False
        fields = headers if length is not None or not has_body else without(headers, {b"content-length"})
        if not has_body and not self.treatment.is_head and status not in (204, 304):
            # A kept HEAD, which a GET has brought about: its length would be one of nothing.
            fields = [*without(fields, {b"content-length"}), (b"Content-Length", b"0")]
        if get(fields, b"date") is None:
            fields = [*fields, (b"Date", http_date(int(time.time())))]  # RFC 9110 section 6.6.1
        self._held = response_head(status, reason, fields + self._connection_fields(fields))
        if not hold:
            self.release_head()

    def send_whole(
        self, status: int, reason: bytes, headers: Headers, body: bytes, *, length: int | None, has_body: bool
    ) -> None:
        """Send head, body and end in one write; see `send_head`."""
        self.send_head(status, reason, headers, length=length, has_body=has_body, hold=True)
        self._send(chunked(body) if self._is_chunked else b"" if self._framing is Framing.NONE else body)

    def announce_trailer(self, name: bytes, value: Callable[[], bytes]) -> None:
        """Announce a trailer field with the head, which is not out yet. value: called when a body ends that is whole.

        It goes out in chunks only: another framing has no place for it.
        """
        self._trailer = name, value

    def release_head(self) -> None:
        """Send the head, if it was held and is still here."""
        if self._held:
            self._send(b"")

    def send_tunnel_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """Send the head of a 101, whose fields are all given; what follows is not HTTP."""
        self.status = status
        self.keep_alive = False
        self._send(response_head(status, reason, headers))

    def send_continue(self) -> None:
        """Ask for the request body (RFC 9110 section 15.2.1)."""
        if self.treatment.is_11 and not self.started:
            self._has_asked = True
            self._send(CONTINUE)

    def make_live(self) -> None:
        """From now on every unsent byte counts: `pause_writing` is called as soon as one waits."""
        if self._transport is not None and not self._transport.is_closing():
            # Over TLS a limit of 0 is reached by a buffer that is empty: writing would pause after every write.
            is_tls = self._transport.get_extra_info("sslcontext") is not None
            self._transport.set_write_buffer_limits(high=1 if is_tls else 0)
            if self._delivery is _Delivery.ORDINARY:
                self._delivery = _Delivery.LIVE

    def write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._is_chunked:
            self._send(b"" if self._framing is Framing.NONE else data)
        elif len(data) < _WORTH_A_COPY and not self._held:
            piece, chunk = NEWEST_CHUNK.newest
            if piece is not data:
                chunk = CHUNK % (len(data), data)
                NEWEST_CHUNK.newest = data, chunk
            transport.write(chunk)
        elif self._gathers and not self._held:
            transport.writelines((CHUNK_SIZE % len(data), data, CHUNK_END))
        else:
            self._send(CHUNK % (len(data), data))

    @property
    def has_unsent(self) -> bool:
        """Whether the network has not taken everything yet."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def unsent(self) -> int:
        """What the client has not acknowledged: with what is in the kernel, which takes large steps, and seldom."""
        if self._transport is None:
            return 0
        return self._transport.get_write_buffer_size() + unacknowledged(self._connection.socket)

    def acknowledged(self) -> int | None:
        """Return the bytes acknowledged since the connection opened; see `sockets.acknowledged`."""
        return acknowledged(self._connection.socket)

    # Ending.

    def finish(self) -> None:
        trailer, self._trailer = self._trailer, None  # which may lead back here
        if self._framing is Framing.CHUNKED:
            self._send(LAST_CHUNK if trailer is None else LAST_CHUNK_WITH % (trailer[0], trailer[1]()))

    def announce_end(self) -> None:
        """Say with the head that no other response follows on the connection, if it is not out yet and can say so."""
        if not self.started:
            self.treatment = replace(self.treatment, is_last=True)

    def close_behind(self) -> None:
        """Let no other request follow this one: the connection closes behind the response."""
        self.keep_alive = False

    def skip_linger(self) -> None:
        """Do not stay open behind a stream that breaks: the process ends."""
        self._linger = 0.0

    def abort(self) -> None:
        """Close without the end of the body. Where closing *is* the end (HTTP/1.0), reset the connection."""
        self.keep_alive = False
        self._trailer = None
        if self._delivery is _Delivery.LIVE:
            self._delivery = _Delivery.BREAKING
        if self._framing is Framing.CLOSE:
            sock = self._connection.socket
            if sock is not None and sock.family == socket.AF_UNIX:
                self._on_untellable()
            self._resetting = asyncio.get_running_loop().create_task(self._reset_when_delivered())

    async def wait_until_flushed(self, limit: float | None) -> None:
        """Wait until the client has taken everything; abort if it takes nothing for `limit` seconds.

        Then the connection is as it was before the response.
        """
        resetting, self._resetting = self._resetting, None
        if resetting is not None:
            await resetting
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self.has_unsent:
            self.make_live()
            if self._connection.writing_paused:
                await self._flush(limit)
        if self._delivery is _Delivery.BREAKING and not transport.is_closing():
            await asyncio.sleep(self._linger)  # a client that leaves ends it: its connection cancels the request
        if self._delivery is not _Delivery.ORDINARY and not transport.is_closing():
            self._delivery = _Delivery.ORDINARY
            transport.set_write_buffer_limits(high=_ORDINARY_WRITE_BUFFER)

    def abort_at_once(self) -> None:
        """Close the connection now. What was written may be lost."""
        self.keep_alive = False
        self._trailer = None
        if self._transport is not None:
            self._transport.abort()

    # Private.

    def _may_break_late(self, headers: Headers) -> bool:
        """True for what is kept alive for long, and whose broken end every client has to see."""
        return self._is_chunked and (self._trailer is not None or is_of_a_kind(headers))

    def _connection_fields(self, others: Headers) -> Headers:
        fields: Headers = []
        if self._framing is Framing.CHUNKED:
            # Hazard: Node's fetch takes each end of a response that says ``Connection: close`` for a clean one. Behind
            # a stream the connection is closed without a word (RFC 9112 section 9.6 does not demand one).
            fields.append((b"Transfer-Encoding", b"chunked"))
            if self._trailer is not None:
                fields.append((b"Trailer", self._trailer[0]))
        options = [] if self.keep_alive and self.treatment.is_11 else [b"keep-alive" if self.keep_alive else b"close"]
        if self._may_break_late(others):
            options = []
        if self.status == HTTPStatus.UPGRADE_REQUIRED and get(others, b"upgrade") is not None:
            options.append(b"upgrade")  # RFC 9110 section 7.8
        if options:
            fields.append((b"Connection", b", ".join(options)))
        return fields

    def _send(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def _flush(self, limit: float | None) -> None:
        flushed = asyncio.ensure_future(self._connection.wait_until_writable())
        try:
            unsent = self.unsent()
            while not (await asyncio.wait({flushed}, timeout=limit))[0]:
                before, unsent = unsent, self.unsent()
                if unsent >= before:
                    self.abort_at_once()
            await flushed
        except ConnectionError as error:
            self.abort_at_once()
            release_frames(error)  # the task keeps it
        finally:
            flushed.cancel()

    async def _reset_when_delivered(self) -> None:
        if self._connection.socket is not None and self._transport is not None:
            await reset_when_delivered(
                self._transport, self._connection.socket, unsent=self.unsent, linger=self._linger
            )
            self.abort_at_once()
