"""Are bodies framed as their heads say? Is a client that has vanished told from one that is behind?"""

import socket
from collections.abc import Iterable, Iterator
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


# How a body is framed.


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.written.extend(pieces)

    def is_closing(self) -> bool:
        return False


class Client:
    """A client's connection."""

    writing_paused = False
    socket = None

    def __init__(self, *, gathers: bool = False) -> None:
        self.gathers = gathers
        self.transport = Transport()


class Response:
    """A response, and what has been written of its body."""

    def __init__(self, *, gathers: bool = False, is_head: bool = False, is_11: bool = True, hold: bool = False) -> None:
        client = Client(gathers=gathers)
        self._transport = client.transport
        treatment = ResponseTreatment(keep_alive=True, is_head=is_head, is_11=is_11)
        self.downstream = HttpDownstream(cast(DownstreamConnection, client), treatment)
        self._hold = hold

    def begin(self, length: int | None = None) -> "Response":
        fields = [] if length is None else [(b"Content-Length", b"%d" % length)]
        self.downstream.send_head(200, b"OK", fields, length=length, has_body=True, hold=self._hold)
        return self

    @property
    def body(self) -> bytes:
        return b"".join(self._transport.written).partition(b"\r\n\r\n")[2]


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def same(piece: bytes) -> bytes:
    """Return an equal piece that is another object."""
    return bytes(bytearray(piece))


ONE, TWO, LARGE = b"data: one\n\n", b"data: two\n\n", b"x" * 20_000


@pytest.mark.parametrize("gathers", [False, True])
def test_each_client_gets_each_piece_whichever_was_written_before(gathers: bool) -> None:
    responses = [Response(gathers=gathers).begin() for _ in range(3)]
    pieces = [ONE, ONE, same(ONE), TWO, ONE, LARGE, LARGE, ONE, b"", TWO, b"", same(TWO)]
    for piece in pieces:
        for response in responses:
            response.downstream.write(piece)
    assert [response.body for response in responses] == [chunks(*pieces)] * 3


def test_a_piece_that_another_client_got_in_a_chunk_is_framed_as_each_head_says() -> None:
    chunked, held, of_head = Response().begin(), Response(hold=True).begin(), Response(is_head=True).begin()
    of_length, closing = Response().begin(length=len(ONE) * 2), Response(is_11=False).begin()
    for _ in range(2):
        for response in (chunked, held, of_head, of_length, closing):
            response.downstream.write(ONE)
    assert chunked.body == held.body == chunks(ONE, ONE)
    assert of_head.body == b""
    assert of_length.body == closing.body == ONE * 2


# Whether a client has vanished.


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
