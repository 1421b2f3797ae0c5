"""In which order do the messages of one response reach the server, and what does the upstream hear of its waits?"""

import asyncio
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.asgi.types import Message
from sseproxy.core.frames import release_frames
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.proxy.asgi.pieces import WaitingPieces
from sseproxy.proxy.asgi.response import AsgiResponse
from sseproxy.proxy.on_asgi import AsgiConnection
from tests.support.settled import eventually, settled

EVENTS = [(b"Content-Type", b"text/event-stream")]
BODY = "http.response.body"
KEPT = ResponseTreatment(is_11=True, keep_alive=True)


class Server:
    """The `send` of a server. Closed, it waits."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def send(self, message: Message) -> None:
        await self.is_open.wait()
        self.sent.append(message)

    @property
    def bodies(self) -> list[tuple[bytes, bool]]:
        return [(message["body"], message["more_body"]) for message in self.sent if message["type"] == BODY]


class Flow:
    """What brings the body. On being resumed it writes what is `left`, at once."""

    def __init__(self, response: AsgiResponse, left: list[bytes]) -> None:
        self.heard: list[str] = []
        self._response = response
        self._left = left

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")
        for data in self._left:
            self._response.write(data)
        self._left = []

    def connection_lost(self) -> None:
        self.heard.append("lost")


def begun(server: Server, rest: asyncio.Future[None] | None = None) -> AsgiResponse:
    connection = AsgiConnection({"type": "http"})
    return AsgiResponse(connection, server.send, ask=lambda: None, read_off=lambda: rest).begin(connection, KEPT)


def with_flow(server: Server, *left: bytes) -> tuple[AsgiResponse, Flow]:
    connection = AsgiConnection({"type": "http"})
    response = AsgiResponse(connection, server.send, ask=lambda: None, read_off=lambda: None)
    connection.flow = flow = Flow(response, list(left))
    response.send_head(200, b"OK", EVENTS, length=None, has_body=True)
    return response, flow


async def test_what_is_written_at_once_is_one_message() -> None:
    server = Server()
    response = begun(server)
    response.send_head(200, b"OK", EVENTS, length=None, has_body=True)
    response.write(b"a")
    response.write(b"b")
    response.finish()
    await response.transmit()
    assert server.bodies == [(b"ab", False)]
    assert not response.has_unsent


async def test_a_held_head_waits_for_its_body() -> None:
    server = Server()
    response = begun(server)
    sending = asyncio.create_task(response.transmit())
    response.send_head(200, b"OK", EVENTS, length=None, has_body=True, hold=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert server.sent == []
    response.write(b"a")
    await eventually(lambda: len(server.sent) == 2)
    assert server.bodies == [(b"a", True)]
    response.finish()
    await sending


async def test_a_large_piece_goes_in_parts() -> None:
    server, data = Server(), bytes(range(256)) * 1000
    response = begun(server)
    response.send_whole(200, b"OK", [(b"Content-Length", b"%d" % len(data))], data, length=len(data), has_body=True)
    await response.transmit()
    assert b"".join(body for body, _ in server.bodies) == data
    assert max(len(body) for body, _ in server.bodies) <= 64 * 1024
    assert [more for _, more in server.bodies] == [*[True] * (len(server.bodies) - 1), False]


async def test_the_upstream_hears_of_a_wait_and_may_write_at_once_when_it_is_over() -> None:
    server = Server()
    server.is_open.clear()
    response, flow = with_flow(server, b"more", b" and more")
    sending = asyncio.create_task(response.transmit())
    await eventually(lambda: flow.heard == ["pause"])
    response.write(b"first ")
    assert response.unsent() == 6
    server.is_open.set()
    await eventually(lambda: b"".join(body for body, _ in server.bodies) == b"first more and more")
    assert flow.heard == ["pause", "resume"]
    response.finish()
    await sending


async def test_too_much_that_waits_pauses_the_upstream_before_the_server_does() -> None:
    server = Server()
    response, flow = with_flow(server)
    response.write(bytes(64 * 1024))
    assert flow.heard == []
    response.write(b"x")
    assert flow.heard == ["pause"]
    response.finish()
    await response.transmit()


async def test_a_server_that_waits_turn_by_turn_is_no_slow_client() -> None:
    """As granian does, for one turn of the event loop."""

    class InTurns(Server):
        turns = 1

        def send(self, message: Message) -> "InTurns":  # type: ignore[override]
            self.sent.append(message)
            return self

        def __await__(self) -> Generator[None, None, None]:
            for _ in range(self.turns):
                yield

    server = InTurns()
    response, flow = with_flow(server)
    response.write(b"a")
    response.finish()
    await response.transmit()
    assert flow.heard == []
    server.turns = 2
    response, flow = with_flow(server)
    response.finish()
    await response.transmit()
    assert flow.heard == ["pause"]


@pytest.mark.parametrize("limit", [0.01, 0.05])
async def test_a_client_that_takes_nothing_is_broken_off(limit: float) -> None:
    server = Server()
    server.is_open.clear()
    response, _ = with_flow(server)
    response.write(b"a")
    response.finish()
    sending = asyncio.create_task(response.transmit())
    await response.wait_until_flushed(limit)
    await sending
    assert response.is_broken
    assert server.sent == []


async def test_a_cancelled_call_of_the_app_is_no_broken_response() -> None:
    server = Server()
    server.is_open.clear()
    response, flow = with_flow(server)
    sending = asyncio.create_task(response.transmit())
    await eventually(lambda: flow.heard == ["pause"])
    sending.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await sending
    release_frames(caught.value)
    assert not response.is_broken


@pytest.mark.usefixtures("endless_read_off")
class TestARequestBodyThatIsStillToCome:
    """Servers close a connection on which more is to come, and the response is lost."""

    async def test_holds_the_last_message_back_and_nothing_else(self) -> None:
        server, rest = Server(), asyncio.get_running_loop().create_future()
        response = begun(server, rest)
        response.send_whole(401, b"No", [], b"no", length=2, has_body=True)
        sending = asyncio.create_task(response.transmit())
        await settled(lambda: len(server.sent))
        assert server.bodies == [(b"no", True)]
        assert not response.is_under_way, "a client that leaves now has got all"
        rest.set_result(None)
        await sending
        assert server.bodies == [(b"no", True), (b"", False)]
        assert response.is_complete

    async def test_is_not_waited_for_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sseproxy.proxy.asgi.response.READ_OFF", 0.01)
        server, rest = Server(), asyncio.get_running_loop().create_future()
        response = begun(server, rest)
        response.send_whole(204, b"No Content", [], b"", length=None, has_body=False)
        await response.transmit()
        assert not rest.done()
        assert server.bodies == [(b"", True), (b"", False)]

    async def test_leaves_nothing_to_be_waited_for(self) -> None:
        """The request is over, and is logged."""
        server, rest = Server(), asyncio.get_running_loop().create_future()
        response = begun(server, rest)
        response.send_whole(401, b"No", [], b"no", length=2, has_body=True)
        sending = asyncio.create_task(response.transmit())
        await response.wait_until_flushed(86_400.0)
        assert server.bodies == [(b"no", True)]
        assert not response.has_unsent
        rest.set_result(None)
        await sending
        assert response.is_complete

    async def test_can_be_broken_off(self) -> None:
        server, rest = Server(), asyncio.get_running_loop().create_future()
        response = begun(server, rest)
        response.send_whole(401, b"No", [], b"no", length=2, has_body=True)
        sending = asyncio.create_task(response.transmit())
        await eventually(lambda: server.bodies == [(b"no", True)])
        response.abort_at_once()
        await sending
        assert response.is_broken

    async def test_and_a_server_that_does_not_take_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sseproxy.proxy.asgi.response.READ_OFF", 0.01)
        server, rest = Server(), asyncio.get_running_loop().create_future()
        response = begun(server, rest)
        response.send_whole(401, b"No", [], b"no", length=2, has_body=True)
        sending = asyncio.create_task(response.transmit())
        await eventually(lambda: server.bodies == [(b"no", True)])
        server.is_open.clear()
        await sending
        assert response.is_broken


async def test_nothing_is_written_behind_the_end() -> None:
    server = Server()
    response = begun(server)
    response.send_head(200, b"OK", EVENTS, length=None, has_body=True)
    response.finish()
    response.write(b"a")
    response.abort()
    await response.transmit()
    response.abort_at_once()
    response.lose()
    assert server.bodies == [(b"", False)]
    assert not response.is_broken


async def test_what_waits_goes_out_before_a_broken_end() -> None:
    server = Server()
    response = begun(server)
    response.send_head(200, b"OK", EVENTS, length=None, has_body=True)
    response.write(b"a")
    response.abort()
    sending = asyncio.create_task(response.transmit())
    await response.wait_until_flushed(None)
    await sending
    assert server.bodies == [(b"a", True)]
    assert response.is_broken


async def test_what_may_break_late_does_not_say_that_its_connection_ends() -> None:
    """An answer in JSON that is kept alive: Node's fetch would take each end of it for a clean one."""
    server = Server()
    response = begun(server)
    response.close_behind()
    response.announce_trailer(b"Proxy-Status", lambda: b"")
    response.send_head(200, b"OK", [(b"Content-Type", b"application/json")], length=None, has_body=True)
    response.finish()
    await response.transmit()
    assert server.sent[0]["headers"] == [(b"content-type", b"application/json")]


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(60_000, 200_000), st.none()), max_size=12))
def test_pieces_come_out_as_they_went_in(steps: list[int | None]) -> None:
    """Numbers go in as so many bytes; ``None`` takes a message out."""
    pieces, expected, taken = WaitingPieces(), b"", b""
    for number, step in enumerate(steps):
        if step is not None:
            data = bytes([number]) * step
            pieces.append(data)
            expected += data
        elif pieces:
            taken += pieces.take()
        assert pieces.size == len(expected) - len(taken)
    while pieces:
        message = pieces.take()
        assert len(message) <= 64 * 1024
        taken += message
    assert taken == expected
    assert pieces.size == 0
