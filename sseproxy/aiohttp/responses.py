"""How does the proxy's response go out on aiohttp's connection, and what do the app's middlewares see of it?

Bytes go to the transport as those of our own server do. The app's `on_response_prepare` may add fields to the head, as
to that of any response. Middlewares get a response that was sent already: they can look at it, but not change it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from functools import partial

from aiohttp import web
from multidict import CIMultiDict

from sseproxy.aiohttp.connection import AiohttpConnection
from sseproxy.core.http.fields import Headers, has_forbidden_bytes, without
from sseproxy.http1.downstream import HttpDownstream
from sseproxy.http1.treatment import ResponseTreatment

#: nginx's word for a client that has gone before its response; in the log only.
_CLIENT_GONE = 499

#: Fields that say how the body is framed. They stay as they are, whatever the app makes of them.
_OF_FRAMING = frozenset((b"connection", b"content-length", b"trailer", b"transfer-encoding"))

#: Adds the app's fields to a head.
PrepareHead = Callable[[web.StreamResponse], Awaitable[None]]


class SentResponse(web.StreamResponse):
    """What the app gets to see of a response that goes out past aiohttp's writer."""

    def __init__(self, status: int, reason: bytes, fields: Headers) -> None:
        headers = CIMultiDict((_decoded(name), _decoded(value)) for name, value in fields)
        super().__init__(status=status, reason=_decoded(reason), headers=headers)
        self._keep_alive = False

    @property
    def prepared(self) -> bool:
        """True: the head cannot be changed."""
        return True

    @property
    def body_length(self) -> int:
        """0: sseproxy's own log has the bytes."""
        return 0

    def allow_another(self) -> None:
        """Let another request follow on the connection."""
        self._keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing: it has been sent."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raise `RuntimeError`: it has been sent."""
        raise RuntimeError("The response has been sent already.")

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it has been sent."""

    @classmethod
    def unsent(cls) -> "SentResponse":
        """Return what stands for the response to a client that has gone."""
        return cls(_CLIENT_GONE, b"Client Closed Request", [])


class AiohttpDownstream(HttpDownstream):
    """The response to one request. shown: to the app, once the head is there."""

    __slots__ = ("shown",)

    def __init__(self, connection: AiohttpConnection, treatment: ResponseTreatment, warn: Callable[[], object]) -> None:
        super().__init__(connection, treatment, on_untellable=warn)
        self.shown: SentResponse | None = None

    @property
    def is_on_the_wire(self) -> bool:
        """Whether anything was sent, so that nothing else can be."""
        return self.shown is not None

    def send_head(
        self, status: int, reason: bytes, headers: Headers, *, length: int | None, has_body: bool, hold: bool = False
    ) -> None:
        if self.shown is None:
            self.shown = SentResponse(status, reason, headers)
        super().send_head(status, reason, headers, length=length, has_body=has_body, hold=hold)

    def close(self) -> None:
        """Wait for nothing any more."""


class _Head(Enum):
    UNKNOWN = "nothing was sent"
    AWAITS_APP = "it is the app's turn to add fields"
    READY = "it is on its way, and so is all behind it"


class PreparedDownstream(AiohttpDownstream):
    """The response to a request of an app that adds fields to heads (`on_response_prepare`).

    prepare: lets it do so.
    """

    # Plan: the head goes to the app in a task. What is to follow it (`_behind`) waits, and so does what is told to the
    # relay: its `flow` is paused. Then everything goes out in its order.
    #
    # 1. The framing is decided here. What the app says of it is passed over.
    # 2. If the app fails, nothing has been sent: its error takes the place of the response.

    __slots__ = ("_behind", "_client", "_head", "_prepare", "_task")

    def __init__(
        self,
        connection: AiohttpConnection,
        treatment: ResponseTreatment,
        warn: Callable[[], object],
        *,
        prepare: PrepareHead,
    ) -> None:
        super().__init__(connection, treatment, warn)
        self._client = connection
        self._prepare = prepare
        self._head = _Head.UNKNOWN
        self._behind: list[Callable[[], object]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def is_on_the_wire(self) -> bool:
        return self._head is _Head.READY

    @property
    def has_unsent(self) -> bool:
        return self._head is _Head.AWAITS_APP or super().has_unsent

    def send_head(
        self, status: int, reason: bytes, headers: Headers, *, length: int | None, has_body: bool, hold: bool = False
    ) -> None:
        send = partial(super().send_head, length=length, has_body=has_body, hold=hold)
        if self._head is _Head.READY:
            send(status, reason, headers)
        else:
            self._show(status, reason, headers, send)

    def send_whole(
        self, status: int, reason: bytes, headers: Headers, body: bytes, *, length: int | None, has_body: bool
    ) -> None:
        self._show(status, reason, headers, partial(super().send_whole, body=body, length=length, has_body=has_body))

    def send_tunnel_head(self, status: int, reason: bytes, headers: Headers) -> None:
        self._head = _Head.READY  # of the handshake between client and upstream
        super().send_tunnel_head(status, reason, headers)

    def release_head(self) -> None:
        self._later(super().release_head)

    def make_live(self) -> None:
        super().make_live()
        if self._head is _Head.AWAITS_APP:
            self._pause()

    def write(self, data: bytes) -> None:
        if self._head is _Head.READY:
            super().write(data)
        else:
            self._behind.append(partial(super().write, data))
            self._pause()

    def finish(self) -> None:
        self._later(super().finish)

    def abort(self) -> None:
        self._later(super().abort)

    async def wait_until_flushed(self, limit: float | None) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})
        await super().wait_until_flushed(limit)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._behind.clear()

    # Private.

    def _show(self, status: int, reason: bytes, headers: Headers, send: Callable[..., None]) -> None:
        fields = self.treatment.fields(headers)
        self.treatment = replace(self.treatment, cross_origin=None, opens_ticket=False)
        self.status = status
        self.shown = SentResponse(status, reason, fields)
        self._head = _Head.AWAITS_APP
        self._task = asyncio.get_running_loop().create_task(self._let_prepare(self.shown, reason, fields, send))

    async def _let_prepare(
        self, shown: SentResponse, reason: bytes, fields: Headers, send: Callable[..., None]
    ) -> None:
        try:
            await self._prepare(shown)
            fields = _prepared(fields, shown)
        except Exception as error:  # noqa: BLE001 - the app's
            self._client.fail(error)
            return
        finally:
            self._task = None
        self._head = _Head.READY
        send(shown.status, reason, fields)
        behind, self._behind = self._behind, []
        for call in behind:
            call()
        if behind and self._client.flow is not None and not self._client.writing_paused:
            self._client.flow.resume_writing()

    def _later(self, call: Callable[[], object]) -> None:
        if self._head is _Head.AWAITS_APP:
            self._behind.append(call)
        else:
            call()

    def _pause(self) -> None:
        if self._client.flow is not None:
            self._client.flow.pause_writing()


def _prepared(fields: Headers, shown: SentResponse) -> Headers:
    """Return the fields of a head with what the app has made of them. Raises `ValueError`."""
    prepared = [(_encoded(name), _encoded(value)) for name, value in shown.headers.items()]
    prepared = without(prepared, _OF_FRAMING) + [field for field in fields if field[0].lower() in _OF_FRAMING]
    if has_forbidden_bytes(prepared):
        raise ValueError("A field that the app has added to the head holds a control character.")
    return prepared


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")
