"""How does a client's connection come to speak TLS? (RFC 8446 section 2)"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from sseproxy.core.frames import release_frames
from sseproxy.core.frozen import frozen
from sseproxy.http1.certificates import load_pair
from sseproxy.http1.sockets import accept_waiting

#: Seconds without accepting after the system had no descriptor for another connection.
_PAUSE = 1.0

#: Errors of the system, not of one client (accept(2)).
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


#: Why handshakes fail, by OpenSSL's name for it.
_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
_REASONS = {
    _NO_CERTIFICATE: "shows no certificate",
    "HTTP_REQUEST": "speaks HTTP without TLS",
    "UNSUPPORTED_PROTOCOL": "offers no version of TLS that is in use",
    "TLSV1_ALERT_UNKNOWN_CA": "does not trust the certificate of server.tls",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "does not accept the certificate of server.tls",
}


class Evictable(Protocol):
    """A client's connection, as far as a limit of connections needs it."""

    def make_room(self) -> None:
        """Close the connection, which is idle, for another client's."""

    def abort(self) -> None:
        """Close the connection at once."""


@frozen
class HandshakeFailure:
    """A handshake that came to nothing. client: its address. why: in words, of which the client is the subject.

    is_refusal: the certificate that it shows, or that it shows none, is the reason.
    """

    client: str
    why: str
    is_refusal: bool = False

    @classmethod
    def of(cls, client: str, error: OSError) -> "HandshakeFailure":
        """Return the failure that the event loop, or OpenSSL, reports as `error`."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return cls(client, f"shows a certificate that is refused: {error.verify_message}", is_refusal=True)
        if isinstance(error, ssl.SSLError):
            reason = getattr(error, "reason", None) or ""  # an error that OpenSSL did not raise has none
            why = _REASONS.get(reason, f"breaks the rules of TLS: {reason.lower().replace('_', ' ') or error}")
            return cls(client, why, is_refusal=reason == _NO_CERTIFICATE)
        # Of both event loops: the time is over.
        is_late = isinstance(error, TimeoutError | ConnectionAbortedError)
        return cls(client, "takes too long" if is_late else "disconnects")


class TlsHandshake:
    """A client that is connected and has not finished its handshake."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begin(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        within: float,
        new_connection: Callable[[], asyncio.Protocol],
        on_end: Callable[["TlsHandshake", OSError | None], object],
    ) -> None:
        """Do the handshake on `sock`, which is closed if it fails, or takes longer than `within` seconds.

        on_end: called once, with the reason if it has failed by itself.
        """
        steps = self._steps(sock, context, within, new_connection, on_end)
        self._task = asyncio.get_running_loop().create_task(steps)

    def make_room(self) -> None:
        """Close the connection for another client's."""
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._task is not None:
            self._task.cancel()

    async def _steps(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        within: float,
        new_connection: Callable[[], asyncio.Protocol],
        on_end: Callable[["TlsHandshake", OSError | None], object],
    ) -> None:
        failure: OSError | None = None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                new_connection, sock, ssl=context, ssl_handshake_timeout=within
            )
        except (OSError, asyncio.CancelledError) as error:  # ssl.SSLError is one of the former
            sock.close()
            failure = error if isinstance(error, OSError) else None
            release_frames(error)
        finally:
            self._task = None
            on_end(self, failure)


class TlsAcceptor:
    """Accepts connections on a listening socket. accept: takes each of them, with its address, and owns it.

    An event loop that is handed a TLS context reports no client before its handshake is over: such clients would
    count for no limit, and each has a descriptor. `close` ends the accepting; the socket is closed with it.
    """

    def __init__(self, sock: socket.socket, accept: Callable[[socket.socket, Any], object]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock, self._accept_some)

    def close(self) -> None:
        """Accept those who wait in the queue, then no more, and close the socket."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        for sock, address in accept_waiting(self._sock):
            self._accept(sock, address)
        self._sock.close()

    def _accept_some(self) -> None:
        """Accept the next client. More of them bring another call."""
        try:
            sock, address = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            # Hazard: the client still waits in the queue, so without a pause the loop would turn without end.
            self._loop.remove_reader(self._sock)
            self._pause = self._loop.call_later(_PAUSE, self._loop.add_reader, self._sock, self._accept_some)
            return
        sock.setblocking(False)
        self._accept(sock, address)


def server_context(certificate: str, key: str, client_ca: str | None = None) -> ssl.SSLContext:
    """Return the server's side of TLS, as the files are now. Only HTTP/1.1 is offered (RFC 7301): HTTP/2 is not served.

    client_ca: PEM file of the authorities, one of which must have signed what a client shows; ``None``: clients need
    nothing. Raises as `load_pair` does.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, certificate, key)
    if client_ca is not None:
        # The system's authorities are not loaded for this purpose: those of the file are all that may sign a client.
        context.load_verify_locations(cafile=client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
