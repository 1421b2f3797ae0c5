"""How does one worker ask the others what they know?"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from sseproxy.core.frozen import frozen

#: Seconds that a worker has for an answer; one that is stuck, or busy for longer, is left out.
PATIENCE = 1.0

#: Bytes of a question; what comes from another process of this user, and is longer, is none.
_MOST_QUESTION = 8192

#: What one worker answers to a question: any bytes. Raises nothing.
Answerer = Callable[[str], Awaitable[bytes]]


@frozen
class Place:
    """Which worker of how many this is. folder: private to the workers, where they find each other.

    Without workers there is one place, and no folder.
    """

    index: int = 0
    count: int = 1
    folder: Path | None = None

    def file(self, index: int, kind: str) -> Path:
        """Return the path of a file of the worker `index`. The place must have a folder."""
        assert self.folder is not None
        return self.folder / f"{index}.{kind}"


class Siblings:
    """The workers of one parent, as seen from one of them. `answer` answers for this one.

    The caller must `start` it, and `stop` it in the end.
    """

    # Plan: each worker listens on a unix socket in a folder that only its user may enter. Whichever worker an operator
    # has reached asks all others at once: one line with the question, then a line with the length of the answer, the
    # answer, and the connection closes.
    #
    # Invariants:
    # 1. No question outlives `PATIENCE`, on either side: a worker that is stuck costs its place in the answer.
    # 2. A worker that was started again has a new socket under the old name. What is left of its predecessor refuses
    #    connections, so it is seen to be away at once.
    # 3. An answer that broke off is none: its length is sent before it.

    def __init__(self, place: Place, answer: Answerer) -> None:
        self._place = place
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer the others from now on. Raises `OSError`."""
        if self._place.folder is not None:
            path = self._place.file(self._place.index, "socket")
            self._server = await asyncio.start_unix_server(self._begin, path, limit=_MOST_QUESTION)

    async def stop(self) -> None:
        """Answer no more. The last worker removes the folder, which the parent may have left behind."""
        folder = self._place.folder
        if self._server is None or folder is None:
            return
        self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        self._place.file(self._place.index, "socket").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):  # one that ends in the same moment has removed the folder
            if not any(folder.glob("*.socket")):
                import shutil  # noqa: PLC0415 - a process alone has no use for it

                shutil.rmtree(folder, ignore_errors=True)

    async def ask_all(self, question: str) -> dict[int, bytes | None]:
        """Return the answer of each worker, by its index; ``None`` for one that has not answered in time."""
        indexes = range(self._place.count)
        answers = await asyncio.gather(*(self.ask(index, question) for index in indexes))
        return dict(zip(indexes, answers, strict=True))

    async def ask(self, index: int, question: str) -> bytes | None:
        """Return the answer of one worker; ``None``: there is none in time."""
        if index == self._place.index:
            return await self._answer(question)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._ask_over(self._place.file(index, "socket"), question)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            return None

    async def _ask_over(self, path: Path, question: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(question.encode() + b"\n")
            return await reader.readexactly(int(await reader.readline()))
        finally:
            writer.transport.abort()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                question = await reader.readuntil(b"\n")
                answer = await self._answer(question.decode().strip())
                writer.writelines((b"%d\n" % len(answer), answer))
                await writer.drain()
                await reader.read()  # until the other side has it all, and closes
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the worker that asks gets no answer, and says so
        finally:
            writer.transport.abort()
