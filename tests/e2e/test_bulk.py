"""Does a body of any size go through without being kept? (contract S9)"""

import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.blocking_peer import LAST_CHUNK, STREAM_HEAD, BlockingPeer, chunk
from tests.support.fault_stand import Stand, standing
from tests.support.processes import forget_peak, peak_resident, resident

_SIZE = 2**30
_PIECE = b"0123456789abcdef" * 65536
_ALLOWED = 64 * 2**20


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with standing("plain limits: {request_body: off}", tmp_path) as stand:
        path = stand.path("plain")
        client, upstream = stand.stream(path, b"data: awake\n\n")
        upstream.send(LAST_CHUNK)
        client.read_until(LAST_CHUNK)
        yield stand


def bounded(stand: Stand, work: Callable[[], None]) -> None:
    """Do `work`, in which the proxy never needs more than it may."""
    idle = resident(stand.proxy.pid)
    forget_peak(stand.proxy.pid)
    work()
    assert peak_resident(stand.proxy.pid) - idle < _ALLOWED


def pour(wire: BlockingPeer) -> threading.Thread:
    """Send the bulk on a thread of its own."""

    def work() -> None:
        for _ in range(_SIZE // len(_PIECE)):
            wire.send(_PIECE)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def drink(wire: BlockingPeer, size: int = _SIZE) -> int:
    """Take up to `size` bytes and keep none of them. Returns how many came."""
    taken = len(wire.received)
    wire.received.clear()
    into = memoryview(bytearray(2**20))
    while taken < size and (got := wire.socket.recv_into(into, min(len(into), size - taken))):
        taken += got
    return taken


def test_a_download_of_1_gib(stand: Stand) -> None:
    path = stand.path("plain")
    client, upstream = stand.ask(path)

    def download() -> None:
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % _SIZE)
        sending = pour(upstream)
        client.read_head()
        assert drink(client) == _SIZE
        sending.join()

    bounded(stand, download)
    log = stand.logged(path)
    assert (log["reason"], log["bytes"]) == ("upstream_end", _SIZE)


def test_an_upload_of_1_gib(stand: Stand) -> None:
    client = stand.client()
    client.ask(stand.path("plain"), method="POST", headers=[f"Content-Length: {_SIZE}"])
    upstream = stand.upstream.accept()

    def upload() -> None:
        sending = pour(client)
        assert drink(upstream) == _SIZE
        sending.join()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        assert client.read_answer()[1] == b"ok"

    bounded(stand, upload)


def test_an_event_stream_that_is_a_thousand_times_larger_than_it_came(stand: Stand) -> None:
    decoded = 128 * 2**20
    event = b"data: " + b"x" * 1016 + b"\n\n"
    packer = zlib.compressobj(level=1, wbits=31)
    coded = b"".join(packer.compress(event * 1024) for _ in range(decoded // (1024 * len(event)))) + packer.flush()
    client, upstream = stand.ask(stand.path("plain"))

    def stream() -> None:
        upstream.send(STREAM_HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        upstream.send(chunk(coded) + LAST_CHUNK)
        client.read_head()
        taken = 0
        while piece := client.read_chunk():
            taken += len(piece)
        assert taken == decoded

    bounded(stand, stream)
