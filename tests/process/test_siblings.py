"""Do workers hear of each other, and does one that is stuck, dead or half-heard cost no more than its own place?"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from sseproxy.process.siblings import PATIENCE, Place, Siblings


def saying(word: bytes) -> Callable[[str], Awaitable[bytes]]:
    async def answer(question: str) -> bytes:
        return word + b" " + question.encode()

    return answer


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Siblings, Siblings]]:
    one, another = (Siblings(Place(index, 3, tmp_path), saying(b"%d" % index)) for index in range(2))
    await one.start()
    await another.start()
    yield one, another
    await one.stop()
    await another.stop()


async def test_each_hears_of_all(pair: tuple[Siblings, Siblings]) -> None:
    for siblings in pair:
        assert await siblings.ask_all("how are you") == {0: b"0 how are you", 1: b"1 how are you", 2: None}
        assert await siblings.ask(1, "x") == b"1 x"


async def test_two_that_end_in_one_moment_are_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    folder.mkdir()
    siblings = Siblings(Place(0, 2, folder), saying(b"0"))
    await siblings.start()
    shutil.rmtree(folder)
    await siblings.stop()


async def test_a_worker_alone_needs_no_folder() -> None:
    siblings = Siblings(Place(), saying(b"alone"))
    await siblings.start()
    assert await siblings.ask_all("x") == {0: b"alone x"}
    await siblings.stop()


async def test_a_long_answer_comes_whole(tmp_path: Path) -> None:
    async def answer(question: str) -> bytes:
        return b"x" * 5_000_000

    one, another = Siblings(Place(0, 2, tmp_path), answer), Siblings(Place(1, 2, tmp_path), answer)
    await another.start()
    assert await one.ask(1, "x") == b"x" * 5_000_000
    await another.stop()


@pytest.mark.parametrize("said", [None, b"", b"nonsense\n", b"5\nabc", b"-5\nabc", b"9" * 5000])
async def test_a_worker_that_is_stuck_or_says_nonsense_is_left_out(
    pair: tuple[Siblings, Siblings], tmp_path: Path, said: bytes | None
) -> None:
    """said: before it closes; ``None``: it takes the connection and does nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "2.socket"))
        listening.listen()
        listening.setblocking(False)
        asked = asyncio.create_task(pair[0].ask_all("x"))
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listening)
        with connection:
            if said is not None:
                await loop.sock_sendall(connection, said)
                connection.shutdown(socket.SHUT_WR)
            assert await asyncio.wait_for(asked, PATIENCE + 20) == {0: b"0 x", 1: b"1 x", 2: None}


async def test_one_that_asks_and_says_no_more_is_not_waited_for(tmp_path: Path) -> None:
    siblings = Siblings(Place(0, 2, tmp_path), saying(b"x"))
    await siblings.start()
    for said in (b"", b"unfinished", b"x" * 1000):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "0.socket")
        writer.write(said)
        try:
            assert await asyncio.wait_for(reader.read(), PATIENCE + 20) == b""
        except ConnectionError:
            pass
        writer.close()
    await siblings.stop()


async def test_the_last_one_removes_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    folder.mkdir()
    one, another = (Siblings(Place(index, 2, folder), saying(b"x")) for index in range(2))
    await one.start()
    await another.start()
    (folder / "0.figures").write_bytes(b"[[], []]")
    await one.stop()
    assert (folder / "0.figures").exists(), "the other one still answers for both"
    await another.stop()
    assert not folder.exists()


async def test_a_successor_takes_the_place(tmp_path: Path) -> None:
    dead = Siblings(Place(1, 2, tmp_path), saying(b"dead"))
    await dead.start()
    with socket.socket(socket.AF_UNIX) as left_behind:
        (tmp_path / "1.socket").unlink()
        left_behind.bind(str(tmp_path / "1.socket"))
    successor = Siblings(Place(1, 2, tmp_path), saying(b"new"))
    asking = Siblings(Place(0, 2, tmp_path), saying(b"asking"))
    assert await asking.ask(1, "x") is None
    await successor.start()
    assert await asking.ask(1, "x") == b"new x"
    await successor.stop()
    await dead.stop()
