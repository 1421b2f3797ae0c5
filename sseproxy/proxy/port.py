"""What does the proxy need of a client's side, whichever server has the client's connection?

A door is a server's side of this port. There are three: `http1` (our own server), `proxy/on_asgi` and `aiohttp`.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from sseproxy.core.flow import FlowListener
from sseproxy.core.http.fields import Headers, Peer
from sseproxy.engine.relay import Downstream
from sseproxy.http1.treatment import ResponseTreatment

# A door makes, for each request, a `ParsedRequest` (with a `RequestContent` that it feeds), a `ClientConnection` and a
# `ClientResponse`, and awaits `RequestHandler.handle` with them.
#
# Rules
# 1. When the client has gone, the door cancels the task that awaits `handle`, and calls `connection_lost` of the
#    connection's `flow`, if there is one. Either suffices; both are allowed, in any order.
# 2. While the client takes no more, the door calls `pause_writing` of the `flow`, and `resume_writing` when it does.
# 3. Exactly one of `finish`, `abort` and `abort_at_once` ends a response that was begun. After `abort`, no client that
#    can tell a broken end from a clean one takes the response for complete.
# 4. What a server in front cannot do is left out by its door, and said in docs/library.md.


class RawConnection(Protocol):
    """A connection that does not speak HTTP any more, behind a 101. transport: ``None`` when it has closed."""

    @property
    def transport(self) -> asyncio.WriteTransport | None: ...

    def switch_to_raw(self, sink: Callable[[bytes], None]) -> bytes:
        """Let `sink` get all bytes from now on. Returns those that have already arrived."""

    def pause_raw_reading(self) -> None:
        """Read no more for now."""

    def resume_raw_reading(self) -> None:
        """Go on reading."""


class ClientConnection(Protocol):
    """Who is connected. scheme: what the client speaks, ``http`` or ``https``. is_trusted: all peers there are.

    client_address: without its port; empty over a unix socket. peer: who it is, once it was found out.
    flow: hears how the response under way flows.
    """

    client_address: str
    scheme: str
    is_trusted: bool
    peer: Peer | None
    flow: FlowListener | None


class ClientResponse(Downstream, Protocol):
    """The response to one request; see `HttpDownstream`, which is the one of our own server.

    treatment: how it is written; may be replaced until the head is sent. status: of the head, once it was sent.
    keep_alive: another request may follow; only ever changes to False.
    """

    treatment: ResponseTreatment
    keep_alive: bool
    status: int | None

    @property
    def started(self) -> bool:
        """Whether a head has been sent."""

    @property
    def raw(self) -> RawConnection | None:
        """The connection itself, where the server in front gives it away; ``None``: no 101 is possible."""

    @property
    def has_unsent(self) -> bool:
        """Whether the network has not taken everything yet."""

    def send_head(
        self, status: int, reason: bytes, headers: Headers, *, length: int | None, has_body: bool, hold: bool = False
    ) -> None:
        """Send the head. length: of the body, if `headers` declare one.

        hold: until there is a body to go with it, or until `release_head` is called, which has to be soon.
        """

    def send_whole(
        self, status: int, reason: bytes, headers: Headers, body: bytes, *, length: int | None, has_body: bool
    ) -> None:
        """Send head, body and end at once; see `send_head`."""

    def announce_trailer(self, name: bytes, value: Callable[[], bytes]) -> None:
        """Announce a trailer field with the head, which is not out yet. value: called when a body ends that is whole.

        It is for clients that care for it: a door that cannot send one does nothing (RFC 9110 section 6.5.1).
        """

    def release_head(self) -> None:
        """Send the head, if it was held and is still here."""

    def send_tunnel_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """Send the head of a 101. Only where the connection is `raw`."""

    def send_continue(self) -> None:
        """Ask for the request body (RFC 9110 section 15.2.1)."""

    def make_live(self) -> None:
        """From now on every unsent byte counts: `pause_writing` is called as soon as one waits."""

    def announce_end(self) -> None:
        """Say with the head that no other response follows on the connection, if it is not out yet and can say so."""

    def close_behind(self) -> None:
        """Let no other request follow this one: the connection closes behind the response."""

    def skip_linger(self) -> None:
        """Do not stay open behind a stream that breaks: the process ends."""

    async def wait_until_flushed(self, limit: float | None) -> None:
        """Wait until the client has taken everything; abort if it takes nothing for `limit` seconds."""

    def abort_at_once(self) -> None:
        """End the response now, and break it if it is not complete. What was written may be lost."""


class Door(Protocol):
    """Where clients come in; known to the proxy so that it hears of a reload and of the end."""

    def forget_peers(self) -> None:
        """Find out anew who is connected: another peer may be trusted now."""

    def close_idle(self) -> None:
        """Close connections on which no request is under way: the proxy drains."""

    def close(self) -> None:
        """Release all that the door holds."""
