"""What does one connection to Redis do, and in which words does it say that it cannot?

The only module that imports redis-py: it is imported when the first connection is made.
"""

import asyncio
import math
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, cast

from redis import exceptions
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sseproxy.core.errors import ReplyError
from sseproxy.stores.redis.ports import NOT_READY, Command, Reply, WireLost
from sseproxy.stores.redis.urls import Address, RedisURL

#: Options of a URL that are not redis-py's.
_OWN_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})


class Wire:
    """One connection over which commands are sent and replies are read, in order.

    Errors of redis-py, of sockets and of TLS end here: each becomes a `WireLost`, and ends the connection.
    """

    def __init__(self, connection: "_Abortable") -> None:
        self._connection = connection

    @classmethod
    async def dial(cls, url: RedisURL, address: Address | None, *, within: float, protocol: int = 3) -> Self:
        """Connect, with TLS, log in and choose the database, `within` seconds. Raises `WireLost`.

        address: None for a unix socket. protocol: 3, or 2 for subscriptions.
        """
        wire = cls(_connection(url, address, protocol))
        try:
            async with asyncio.timeout(within):
                await wire._connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await wire.close()
            if isinstance(error, Exception):
                raise WireLost(explain(error)) from None
            raise
        return wire

    async def exchange(
        self, commands: Sequence[Command], on_reply: Callable[[Reply | ReplyError], None], *, within: float
    ) -> None:
        """Send commands in one go; call `on_reply` with each reply as it comes. Raises `WireLost`.

        within: seconds without any progress. A command that Redis refuses is replied to with a `ReplyError`.
        """
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(within)
        try:
            async with limit:
                await self._connection.send_packed_command(self._connection.pack_commands(commands))
                for _ in commands:
                    limit.reschedule(loop.time() + within)
                    on_reply(await self._read())
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is of no use any more
            raise WireLost(explain(error)) from None
        finally:
            # Hazard: it holds the task. A task that is cancelled holds the error, which holds this frame.
            del limit

    async def send(self, *command: bytes | str | int) -> None:
        """Send a command whose reply is read later. Raises `WireLost`."""
        try:
            await self._connection.send_packed_command(self._connection.pack_command(*command))
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is of no use any more
            raise WireLost(explain(error)) from None

    async def read(self) -> Reply | ReplyError:
        """Return what comes next, whenever that is. Raises `WireLost`."""
        try:
            return await self._read()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is of no use any more
            raise WireLost(explain(error)) from None

    async def is_stale(self) -> bool:
        """True if the connection is closed, or something has come that nothing asked for."""
        try:
            return await self._connection.can_read()
        except (exceptions.RedisError, OSError):
            return True

    async def close(self) -> None:
        """Leave no socket, and wait for nothing that Redis may never send. Twice is once."""
        try:
            await self._connection.disconnect()  # waits, since it aborts, for one turn of the loop or two
        except (exceptions.RedisError, OSError):
            pass

    async def _read(self) -> Reply | ReplyError:
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except exceptions.ResponseError as error:
            return ReplyError(_text(error))


def explain(error: BaseException) -> str:
    """Why a connection failed, in words that a person understands and that hold no secret."""
    for cause in _causes(error):
        for kind, words in _REASONS:
            if isinstance(cause, kind):
                return words(cause) if callable(words) else words
    return type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """What was wrong, before what was made of it: redis-py wraps one in the other."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        chain.extend(each for each in error.args if isinstance(each, BaseException))
        error = error.__cause__ or error.__context__
    return reversed(chain)


def _refused(error: BaseException) -> str:
    """The code only: what follows it may repeat a command, and so a password."""
    text = _text(error)
    if "unknown command" in text.lower():
        return "it does not know HELLO: Redis 6 or newer is needed"
    if "DB index" in text:
        return "it has no database of this number"
    code = _code(error)
    return NOT_READY.get(code, f"it refuses the login with {code}" if code.isupper() else "it refuses the login")


def _certificate(error: BaseException) -> str:
    return f"its TLS certificate is not accepted: {getattr(error, 'verify_message', '') or 'verification failed'}"


#: The first that fits.
_REASONS: tuple[tuple[type[BaseException], str | Callable[[BaseException], str]], ...] = (
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, "no TLS connection can be made"),
    (socket.gaierror, "its host name is not known"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection lost"),
    (BrokenPipeError, "connection lost"),
    (FileNotFoundError, "no such socket, or a TLS file does not exist"),
    (PermissionError, "permission denied"),
    (exceptions.NoPermissionError, "the user may not do this"),
    (exceptions.AuthenticationError, lambda error: NOT_READY.get(_code(error), "wrong user or password")),
    (exceptions.BusyLoadingError, NOT_READY["LOADING"]),
    (exceptions.ResponseError, _refused),
    (TimeoutError, "timed out"),
    (exceptions.TimeoutError, "timed out"),
    (OSError, lambda error: (getattr(error, "strerror", None) or "connection lost").lower()),
    (exceptions.ConnectionError, "connection lost"),
    (exceptions.InvalidResponse, "what answers does not speak Redis' protocol"),
)


def _text(error: BaseException) -> str:
    """A refusal as Redis sent it: redis-py takes the code off."""
    code = getattr(error, "status_code", None)
    text = str(error)
    return text if code is None or text.startswith(f"{code} ") else f"{code} {text}"


def _code(error: BaseException) -> str:
    return _text(error).partition(" ")[0]


def _connection(url: RedisURL, address: Address | None, protocol: int) -> "_Abortable":
    options: dict[str, Any] = {name: value for name, value in url.options if name not in _OWN_OPTIONS}
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() not in ("0", "f", "false", "n", "no")
    common: dict[str, Any] = {
        "db": url.database,
        "username": url.username,
        "password": url.password,
        "protocol": protocol,
        "retry": Retry(NoBackoff(), 0),
        # Time is watched here, once per pipeline: redis-py would watch it for each reply.
        "socket_timeout": None,
        "socket_connect_timeout": None,
        # No CLIENT SETINFO: users with few rights may not.
        "driver_info": None,
    }
    if address is None:
        return _Unix(path=url.path, **common)
    host, port = address
    if url.is_tls:
        return _TLS(host=host, port=port, **options, **common)
    return _TCP(host=host, port=port, **common)


class Opening(asyncio.StreamReaderProtocol):
    """A connection that can be closed before anything else knows of its transport.

    Hazard: an attempt that is cancelled just as it succeeds is closed by uvloop below TLS, which is not informed: it
    would go on with the handshake, fail, and put a traceback in the log.
    """

    transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        super().connection_made(transport)

    def abort(self) -> None:
        """Close it at once, if it was made."""
        if self.transport is not None:
            self.transport.abort()
            self.transport = None


class _Abortable(AbstractConnection):
    """A connection whose end does not wait for the other side: redis-py would leave a socket open until all is sent."""

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        await super().disconnect(*args, **kwargs)


class _TCP(_Abortable, Connection):
    pass


class _TLS(_Abortable, SSLConnection):
    async def _connect(self) -> None:
        """Open a connection as redis-py does, and close one that is called off as it is made; see `Opening`."""
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        opening = Opening(reader)
        try:
            transport, _ = await loop.create_connection(lambda: opening, **self._connection_arguments())
        except BaseException:
            opening.abort()
            raise
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, opening, reader, loop)
        if self.socket_keepalive:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            options = cast("dict[int, int]", self.socket_keepalive_options)
            for option, value in options.items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


class _Unix(_Abortable, UnixDomainSocketConnection):
    pass
