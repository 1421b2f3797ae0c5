"""Would the load generator notice if a proxy lost, repeated, mixed up or damaged anything?"""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.measure import client, origin, wait_for_answer

EVENTS = 6
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def events(load: Path) -> list[bytes]:
    """The first events of a stream of the origin."""
    with origin(load, 1000) as (port, _), socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: bench\r\n\r\n")
        data = b""
        while data.count(b"\n\n") <= EVENTS:
            data += sock.recv(65536)
    chunks = data.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2]
    return chunks[:EVENTS]


@contextmanager
def replay(body: bytes) -> Iterator[int]:
    """A server that answers one request with these bytes; its port. The connection stays until the client leaves."""

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(body)
            sock.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def read(load: Path, body: bytes) -> dict[str, float]:
    with replay(body) as port, client(load, "streams", port, 1, 0.1, 0) as reader:
        reader.line(30)
        reader.line(30)
        return reader.line(30)


def test_what_the_origin_sends_is_whole(load: Path, events: list[bytes]) -> None:
    assert not read(load, HEAD + b"".join(map(chunk, events)))["broken"]


def test_events_may_be_cut_anywhere(load: Path, events: list[bytes]) -> None:
    body = b"".join(events)
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    assert not read(load, HEAD + b"".join(map(chunk, pieces)))["broken"]


def test_a_heartbeat_between_events_is_none_of_them(load: Path, events: list[bytes]) -> None:
    body = [*events[:2], b": heartbeat\n", events[2], b": heartbeat\n\n", events[3], b"\n"]
    assert not read(load, HEAD + b"".join(map(chunk, body)))["broken"]


def lost(events: list[bytes]) -> list[bytes]:
    return events[:2] + events[3:]


def repeated(events: list[bytes]) -> list[bytes]:
    return [*events[:3], *events[2:]]


def swapped(events: list[bytes]) -> list[bytes]:
    return [events[0], events[2], events[1], *events[3:]]


def damaged(events: list[bytes]) -> list[bytes]:
    return [*events[:3], events[3][:60] + b"?" + events[3][61:]]


def shortened(events: list[bytes]) -> list[bytes]:
    return [*events[:3], events[3][:-3] + b"\n", events[4]]


def with_a_heartbeat_inside(events: list[bytes]) -> list[bytes]:
    return [events[0], events[1][:-1], b": heartbeat\n", events[1][-1:]]


def with_a_heartbeat_inside_a_line(events: list[bytes]) -> list[bytes]:
    return [events[0], events[1][:40], b": heartbeat\n", events[1][40:]]


FAULTS = (lost, repeated, swapped, damaged, shortened, with_a_heartbeat_inside, with_a_heartbeat_inside_a_line)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_noticed(load: Path, events: list[bytes], fault: Callable[[list[bytes]], list[bytes]]) -> None:
    assert read(load, HEAD + b"".join(map(chunk, fault(events))))["broken"]


def read_with_ids(load: Path, body: bytes, wanted: int) -> tuple[dict[str, float], dict[str, float]]:
    with replay(body) as port, client(load, "streams", port, 1, 0.1, 0, 1, "/", wanted) as reader:
        opened = reader.line(30)
        reader.line(30)
        return opened, reader.line(30)


def test_ids_are_passed_over_where_they_may_be(load: Path, events: list[bytes]) -> None:
    named = HEAD + b"".join(chunk(b"id: R.1-%d\n%b" % each) for each in enumerate(events))
    opened, result = read_with_ids(load, named, wanted=EVENTS)
    assert (opened["heard"], result["broken"]) == (1, 0)
    assert read(load, named)["broken"] == EVENTS


def test_a_stream_is_heard_when_it_has_had_what_is_wanted(load: Path, events: list[bytes]) -> None:
    opened, _ = read_with_ids(load, HEAD + b"".join(map(chunk, events)), wanted=EVENTS + 1)
    assert opened["heard"] == 0


def test_an_origin_may_begin_with_several_events(load: Path) -> None:
    with origin(load, 0, first=200) as (port, _), client(load, "streams", port, 3, 0.1, 0, 30, "/", 200) as readers:
        assert readers.line(60)["heard"] == 3


def test_a_refusal_is_counted(load: Path) -> None:
    result = read(load, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno")
    assert (result["refused"], result["broken"]) == (1, 0)


def test_an_end_is_counted(load: Path, events: list[bytes]) -> None:
    assert read(load, HEAD + b"".join(map(chunk, events)) + b"0\r\n\r\n")["ended"] == 1


@pytest.mark.parametrize(("rate", "size"), [(50, 16), (50, 128), (20, 65536), ("max", 128)])
def test_streams_arrive_whole(load: Path, rate: float | str, size: int) -> None:
    with origin(load, rate, size) as (port, _), client(load, "streams", port, 20, 0.3, 0.4) as readers:
        assert readers.line(30)["heard"] == 20
        readers.line(30)
        result = readers.line(30)
    assert result["events"]
    assert not result["broken"] + result["ended"]


def stamped(number: int) -> bytes:
    """An event of another origin, with a position."""
    return b"id: 1-%d\ndata: %020d%b\n\n" % (number, time.monotonic_ns(), b"x" * 100)


def test_events_of_other_origins_may_have_ids(load: Path) -> None:
    body = HEAD + b"".join(chunk(stamped(number)) for number in range(EVENTS))
    with replay(body) as port, client(load, "client", port, 1, 0.1, 0) as reader:
        assert reader.line(30)["heard"] == 1
        reader.line(30)
        assert not reader.line(30)["broken"]


def test_each_stream_can_have_a_target_of_its_own(load: Path) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        with client(load, "client", port, 3, 0.1, 0, "/inbox?u=%d"):
            for _ in range(3):
                with listener.accept()[0] as sock:
                    asked.append(sock.recv(65536).split(b" ")[1])
    assert sorted(asked) == [b"/inbox?u=0", b"/inbox?u=1", b"/inbox?u=2"]


def test_plain_responses_arrive_whole(load: Path) -> None:
    with origin(load, 1) as (port, _):
        wait_for_answer(port)
        with client(load, "requests", port, 4, 0.2, 0) as askers:
            askers.line(30)
            result = askers.line(30)
        assert result["requests"]
        assert not result["broken"] + result["ended"]
        with client(load, "body", port, 1_000_001, 30) as reader:
            reader.go()
            assert reader.line(60) | {"seconds": 0, "cpu": 0} == {
                "bytes": 1_000_001,
                "broken": 0,
                "seconds": 0,
                "cpu": 0,
            }


def test_a_size_that_no_event_can_have_is_refused(load: Path) -> None:
    done = subprocess.run([load, "origin", "1", "1", "15"], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, "16 to 65536" in done.stderr) == (2, True)
