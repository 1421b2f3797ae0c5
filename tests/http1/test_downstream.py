"""Is a client that has vanished told from one that is behind, also where the kernel says little?"""

import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from sseproxy.http1.downstream import HttpDownstream
from sseproxy.http1.server import DownstreamConnection
from sseproxy.http1.treatment import ResponseTreatment
from tests.support.blocking_peer import BlockingPeer

REQUEST = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"

#: All of struct tcp_info up to what is looked at.
INFO = 136


class Kernel:
    """A socket, of a kernel that says this of its TCP connections."""

    def __init__(self, sock: socket.socket, said: bytes | OSError) -> None:
        self.family = sock.family
        self.fileno = sock.fileno
        self._said = said

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        if isinstance(self._said, OSError):
            raise self._said
        return self._said[:size]


class Connection:
    """What an `HttpDownstream` wants to know of its connection."""

    transport = None
    gathers = False

    def __init__(self, sock: Any) -> None:
        self.socket = sock


def acknowledged(sock: Any) -> int | None:
    connection = cast(DownstreamConnection, Connection(sock))
    return HttpDownstream(connection, ResponseTreatment(keep_alive=True)).acknowledged()


Pair = tuple[BlockingPeer, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = BlockingPeer(socket.create_connection(listener.getsockname()))
        ours, _ = listener.accept()
        with ours:
            client.socket.sendall(REQUEST)
            assert ours.recv(len(REQUEST)) == REQUEST
            yield client, ours
        client.socket.close()


def take(pair: Pair, size: int) -> None:
    """Send the client so much, and hear from it that it has come: then it is acknowledged as well."""
    client, ours = pair
    ours.sendall(bytes(size))
    assert len(client.socket.recv(size)) == size
    client.socket.sendall(b".")
    assert ours.recv(1) == b"."


def test_a_client_that_has_everything(pair: Pair) -> None:
    take(pair, 4)
    assert acknowledged(pair[1]) is None


@pytest.mark.parametrize("before", [0, 4])
def test_what_a_client_has_acknowledged_before_it_vanished(pair: Pair, before: int) -> None:
    """Perhaps nothing at all: it may have waited for its answer for a long time."""
    client, ours = pair
    take(pair, before)
    client.vanish()
    ours.sendall(b"never heard of")
    assert acknowledged(ours) == before


@pytest.mark.parametrize(
    "said",
    [bytes(INFO), bytes(104), b"", OSError("no such option")],
    ids=["zeros", "an old one", "nothing", "an error"],
)
def test_a_kernel_that_does_not_count(pair: Pair, said: bytes | OSError) -> None:
    """Else every client that is always a little behind, as in a long download, would seem to have vanished."""
    client, ours = pair
    client.vanish()
    ours.sendall(b"never heard of")
    assert acknowledged(Kernel(ours, said)) is None
