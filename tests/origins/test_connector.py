"""Is a new connection opened to the address that answers, and are names looked up no more often than is needed?"""

import asyncio
import contextlib
import errno
import gc
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from sseproxy.core.errors import ConnectError
from sseproxy.core.routes import Upstream, UpstreamTLS
from sseproxy.http1.client import UpstreamConnection
from sseproxy.origins.addresses import Addresses, AddressInfo
from sseproxy.origins.connector import Connector
from sseproxy.origins.faults import our_errors
from tests.support.certificates import Certificate, new_authority, new_certificate
from tests.support.patience import LIMIT
from tests.support.settled import eventually
from tests.support.slow_turns import cancelled_after

#: All of these are this machine.
ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@dataclass
class Names:
    """A resolver of one name."""

    addresses: list[str]
    error: OSError | None = None
    asked: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def look_up(self, host: str, port: int, **_: Any) -> list[AddressInfo]:
        self.asked += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*stream, (address, port)) for address in self.addresses]

    def of(self, port: int, *, ttl: float = 10) -> Addresses:
        return Addresses("a.test", port, resolve=self.look_up, ttl=ttl)


async def firsts(addresses: Addresses, count: int) -> list[str]:
    """The address that each of `count` connections tries first."""
    return [(await addresses.find())[0][4][0] for _ in range(count)]


async def test_the_replicas_behind_a_name_share_the_load() -> None:
    names = Names([ONE, TWO, THREE])
    assert await firsts(names.of(80), 4) == [ONE, TWO, THREE, ONE]
    assert names.asked == 1


async def test_a_name_is_looked_up_again_in_time() -> None:
    names = Names([ONE])
    addresses = names.of(80, ttl=0)
    assert await firsts(addresses, 1) == [ONE]
    names.addresses = [TWO]
    assert await firsts(addresses, 1) == [TWO]


async def test_connections_that_come_together_share_a_lookup() -> None:
    names = Names([ONE])
    names.open.clear()
    addresses = names.of(80)
    finding = [asyncio.create_task(addresses.find()) for _ in range(3)]
    await asyncio.sleep(0)
    finding[0].cancel()
    await asyncio.sleep(0)
    names.open.set()
    assert [(await each)[0][4][0] for each in finding[1:]] == [ONE, ONE]
    assert finding[0].cancelled()
    assert names.asked == 1


async def test_a_lookup_that_fails_is_no_news_without_a_reader_and_not_kept() -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    names = Names([ONE], error=socket.gaierror(socket.EAI_AGAIN, "later"))
    addresses = names.of(80)
    names.open.clear()
    finding = asyncio.create_task(addresses.find())
    await asyncio.sleep(0)
    finding.cancel()
    await asyncio.sleep(0)
    names.open.set()
    with pytest.raises(socket.gaierror):
        await addresses.find()
    names.error = None
    assert await firsts(addresses, 1) == [ONE]
    assert faults == []


@pytest.mark.parametrize("host", [ONE, "::1"])
async def test_an_address_is_not_looked_up(host: str) -> None:
    names = Names([])
    assert [info[4][0] for info in await Addresses(host, 80, resolve=names.look_up).find()] == [host]
    assert names.asked == 0


@pytest.mark.parametrize("found", [[], "a" * 64])
async def test_a_name_without_an_address(found: list[str] | str) -> None:
    resolve = None if isinstance(found, str) else Names(found).look_up
    host = found if isinstance(found, str) else "a.test"
    with pytest.raises(ConnectError) as failure, our_errors():
        await Connector(Upstream("http", host, 80), resolve=resolve).open()
    assert failure.value.proxy_status == "dns_error"


def bound(*hosts: str) -> list[socket.socket]:
    """Sockets at all `hosts`, on one port: the kernel chooses it for the first, and it may be taken at another."""
    for _ in range(20):
        with contextlib.ExitStack() as exits:
            sockets = [exits.enter_context(socket.socket()) for _ in hosts]
            try:
                sockets[0].bind((hosts[0], 0))
                for host, sock in zip(hosts[1:], sockets[1:], strict=True):
                    sock.bind((host, sockets[0].getsockname()[1]))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            exits.pop_all()
            return sockets
    raise AssertionError(f"no port is free at {hosts}")


@asynccontextmanager
async def serving(sock: socket.socket, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Accept on `sock`. Its port."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), sock=sock, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def listening(*hosts: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Accept on all `hosts`, on one port."""
    async with contextlib.AsyncExitStack() as exits:
        ports = [await exits.enter_async_context(serving(sock, tls=tls)) for sock in bound(*hosts)]
        yield ports[0]


@contextmanager
def silent(listener: socket.socket) -> Iterator[None]:
    """Let nothing answer at a socket: a listener whose queue is full drops what comes."""
    with listener, contextlib.ExitStack() as exits:
        listener.listen(0)
        for _ in range(4):
            filling = exits.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield


async def opened(connector: Connector) -> str:
    """Open a connection, close it, and return the address to which it led."""
    with our_errors():
        connection = await connector.open()
    assert connection.transport is not None
    host: str = connection.transport.get_extra_info("peername")[0]
    connection.close()
    return host


def connector(port: int, *addresses: str, tls: UpstreamTLS | None = None) -> Connector:
    scheme = "http" if tls is None else "https"
    upstream = Upstream(scheme, "localhost", port, tls=tls or UpstreamTLS())
    return Connector(upstream, resolve=Names(list(addresses)).look_up)


async def test_an_address_that_refuses_is_passed_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sseproxy.origins.connector.ATTEMPT_DELAY", LIMIT)
    refusing, sock = bound(ONE, TWO)
    with refusing:  # and does not listen
        async with serving(sock) as port:
            started = asyncio.get_running_loop().time()
            assert await opened(connector(port, ONE, TWO)) == TWO
            assert asyncio.get_running_loop().time() - started < LIMIT / 2


async def test_an_address_that_is_silent_is_not_waited_for() -> None:
    quiet, sock = bound(ONE, TWO)
    with silent(quiet):
        async with serving(sock) as port, asyncio.timeout(LIMIT):
            assert await opened(connector(port, ONE, TWO)) == TWO


async def cancelled(connector: Connector, turns: int) -> None:
    """Cancel an attempt after some turns of the loop."""
    opening = asyncio.create_task(connector.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        (await opening).close()


@pytest.mark.parametrize("addresses", [[ONE], [ONE, TWO]])
async def test_an_attempt_that_is_cancelled_leaves_nothing_behind(addresses: list[str]) -> None:
    """At whatever moment: also in the turn of the loop in which it succeeds. The garbage collector is off."""

    def alive() -> int:
        return sum(type(each) is UpstreamConnection for each in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        async with listening(*addresses) as port:
            for turns in range(12):
                await cancelled(connector(port, *addresses), turns)
            await eventually(lambda: alive() == before)
    finally:
        gc.enable()


@pytest.mark.parametrize("addresses", [[ONE], [ONE, TWO]])
async def test_where_all_refuse_it_is_a_refusal(addresses: list[str]) -> None:
    with contextlib.ExitStack() as exits:
        taken = [exits.enter_context(sock) for sock in bound(*addresses)]  # and none of them listens
        with pytest.raises(ConnectError) as failure:
            await opened(connector(taken[0].getsockname()[1], *addresses))
    assert failure.value.proxy_status == "connection_refused"


@dataclass(frozen=True)
class Certificates:
    """authority has signed `sound`, which names localhost; stranger is signed by another one."""

    authority: Certificate
    sound: Certificate
    stranger: Certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = new_authority(folder), new_authority(folder, "other")
    names = "DNS:localhost"
    sound, stranger = (
        new_certificate(folder, authority, "sound", names),
        new_certificate(folder, other, "stranger", names),
    )
    return Certificates(authority, sound, stranger)


@contextmanager
def shaking_hands(tls: ssl.SSLContext) -> Iterator[int]:
    """Accept one connection after the other, on a thread: also while the event loop has no time. The port."""

    def serve() -> None:
        with contextlib.suppress(OSError):  # it listens no more
            while True:
                sock, _ = listener.accept()
                with contextlib.suppress(OSError), tls.wrap_socket(sock, server_side=True) as client:
                    client.recv(1)

    with socket.create_server((ONE, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_a_handshake_that_is_called_off_at_any_moment_leaves_no_fault(certificates: Certificates) -> None:
    """Also in the turn of the loop in which it succeeds; uvloop closes it then, and TLS does not hear of it."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    tls = UpstreamTLS(ca=str(certificates.authority.certificate))
    with shaking_hands(certificates.sound.server_context()) as port:
        for turns in range(12):
            await cancelled_after(connector(port, ONE, tls=tls).open(), turns)
            await cancelled_after(connector(port, ONE, TWO, tls=tls).open(), turns)
    assert faults == []


async def test_where_tls_fails_with_one_address_the_others_are_tried(certificates: Certificates) -> None:
    tls = UpstreamTLS(ca=str(certificates.authority.certificate))
    one, two = bound(ONE, TWO)
    stranger, sound = certificates.stranger.server_context(), certificates.sound.server_context()
    async with serving(one, tls=stranger) as port, serving(two, tls=sound):
        assert await opened(connector(port, ONE, TWO, tls=tls)) == TWO


@pytest.mark.parametrize("addresses", [[ONE], [ONE, TWO]])
async def test_where_tls_fails_with_all_addresses_the_error_says_why(
    certificates: Certificates, addresses: list[str]
) -> None:
    tls = UpstreamTLS(ca=str(certificates.authority.certificate))
    async with listening(ONE, TWO, tls=certificates.stranger.server_context()) as port:
        with pytest.raises(ConnectError) as failure:
            await opened(connector(port, *addresses, tls=tls))
    assert failure.value.proxy_status == "tls_certificate_error"


@pytest.mark.parametrize("name", ["localhost.", "localhost"])
async def test_the_dot_that_ends_a_full_name_is_not_in_certificates(certificates: Certificates, name: str) -> None:
    tls = UpstreamTLS(ca=str(certificates.authority.certificate), server_name=name)
    async with listening(ONE, tls=certificates.sound.server_context()) as port:
        assert await opened(connector(port, ONE, tls=tls)) == ONE
