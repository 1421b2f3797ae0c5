"""A sink that keeps what it gets, and one window to get it from."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from sseproxy.core.errors import OriginError
from sseproxy.core.journal.cursor import Flavour
from sseproxy.core.journal.positions import START, Mark
from sseproxy.core.journal.window import STREAM, Block, Window
from sseproxy.core.journal.window_policy import WindowPolicy
from sseproxy.journal.budget import WindowBudget
from sseproxy.journal.catching_up import CatchingUp
from sseproxy.journal.fanout import Fanout
from sseproxy.journal.history import History
from sseproxy.journal.reader import Reader
from tests.support.bypassed import Bypassed
from tests.support.virtual_clock import until
from tests.support.whatwg import Event, parse

IDS = Flavour()


class Sink(Bypassed):
    """got: each piece; a failure of the reader last. within: called in each `receive_data`."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.error: OriginError | None = None
        self.within: Callable[[], None] | None = None

    def receive_data(self, data: bytes) -> None:
        self.got.append(data)
        if self.within is not None:
            self.within()

    def receive_events(self, data: bytes, events: int, now: float) -> None:
        self.receives()
        self.receive_data(data)

    def receive_eof(self) -> None:
        raise AssertionError("a feed has no end")

    def receive_error(self, error: OriginError) -> None:
        self.error = error

    @property
    def events(self) -> list[Event]:
        return parse(b"".join(self.got)).events

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events]


class Room:
    """One window, and readers of it."""

    def __init__(
        self,
        policy: WindowPolicy = STREAM,
        *,
        base: Mark = START,
        history: History | None = None,
        budget: WindowBudget | None = None,
        catching_up: CatchingUp | None = None,
        readers: int = 256,
        chunk: int = 65_536,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.defects: list[BaseException] = []
        self.loop.set_exception_handler(lambda _, context: self.defects.append(context["exception"]))
        self.catching_up = CatchingUp(self.loop) if catching_up is None else catching_up
        self.window = Window(base)
        policy = replace(policy, readers=readers, chunk=chunk)
        self.fanout = Fanout(self.window, self.loop, policy, self.catching_up, history=history, budget=budget)

    def append(self, count: int = 1, *, size: int = 0) -> None:
        """As many events, each a block; data is its number and `size` bytes more."""
        for _ in range(count):
            major, minor = self.window.top
            text = b"data: %d%b\n\n" % (minor + 1, b"x" * size)
            self.window.append(Block((major, minor + 1), 1, text), now=self.loop.time())

    def publish(self, count: int = 1, *, size: int = 0) -> None:
        self.append(count, size=size)
        self.fanout.publish()

    def reader(self, mark: Mark, flavour: Flavour = IDS, **options: object) -> tuple[Reader, Sink]:
        sink = Sink()
        reader = Reader(sink, flavour, self.loop, **options)  # type: ignore[arg-type]
        reader.place(self.fanout).begin(mark)
        return reader, sink

    async def live(self, number: int, flavour: Flavour = IDS) -> list[tuple[Reader, Sink]]:
        """So many readers that have everything."""
        readers = [self.reader(self.window.top, flavour) for _ in range(number)]
        await self.idle()
        return readers

    async def idle(self) -> None:
        """All that is due has been done."""
        await until(lambda: not len(self.catching_up))
        for _ in range(3):
            await turn()


async def turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)
