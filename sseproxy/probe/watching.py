"""How is one response read from the wire, with the time at which each piece of it came?"""

import asyncio
from collections.abc import Callable

from sseproxy.core.errors import OriginError
from sseproxy.http1.responses import Progress, ResponseParser
from sseproxy.probe.connecting import connect
from sseproxy.probe.follower import Follower
from sseproxy.probe.stream import Ending, Stream
from sseproxy.probe.target import Target

_CLOSE_LIMIT = 1.0
_READ = 64 * 1024

#: Is called whenever bytes have come, with the number of events and heartbeats so far.
Listener = Callable[[int], None]


async def watch(target: Target, *, limit: float, listener: Listener | None = None) -> Stream:
    """Send the request of `target` and read what comes, for `limit` seconds at most; then the client leaves.

    Raises `Unreachable`.
    """
    reader, writer = await connect(target)
    watching = _Watching(reader, target.method, listener)
    try:
        writer.write(target.request)
        try:
            async with asyncio.timeout(limit):
                ending = await watching.run()
        except TimeoutError:
            ending = Ending.OPEN
        return watching.seen(ending)
    finally:
        # Not closed in good order: over TLS that would wait for the other side.
        writer.transport.abort()
        await asyncio.wait([asyncio.ensure_future(_gone(writer))], timeout=_CLOSE_LIMIT)


async def _gone(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except OSError:
        pass


class _Watching:
    """The reading half of one exchange."""

    def __init__(self, reader: asyncio.StreamReader, method: str, listener: Listener | None) -> None:
        self._reader = reader
        self._listener = listener
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._parser = ResponseParser(to_head=method == "HEAD")
        self._follower = Follower("")
        self._seen = Stream(Ending.OPEN, 0.0)
        self._reads: list[float] = []
        self._detail = ""

    async def run(self) -> Ending:
        """Read to the end, and say how that came."""
        parser = self._parser
        try:
            while parser.progress in (Progress.HEAD, Progress.BODY):
                data = await self._reader.read(_READ)
                if not data:
                    if self._seen.status is None:
                        return Ending.NO_RESPONSE
                    return Ending.CLEAN if parser.ends_with_connection else Ending.TRUNCATED
                try:
                    parser.feed(data)
                finally:
                    self._take()  # what was found before bytes that make no sense is valid
        except OSError as error:  # also TLS, and a network that has gone
            self._detail = str(error)
            return Ending.RESET
        except OriginError as error:
            self._detail = str(error)
            return Ending.NOT_HTTP
        finally:
            parser.close()
        return Ending.CLEAN

    def seen(self, ending: Ending) -> Stream:
        """All that came, and how it ended, just now."""
        seen = self._seen
        return Stream(
            ending=ending,
            seconds=self._clock() - self._began,
            status=seen.status,
            fields=seen.fields,
            head_at=seen.head_at,
            reads=tuple(self._reads),
            marks=tuple(self._follower.marks),
            closes=seen.closes,
            beginning=self._follower.beginning.decode("utf-8", "replace"),
            detail=self._detail,
        )

    def _take(self) -> None:
        """Note what the last read has brought."""
        now = self._clock() - self._began
        if self._parser.head is not None:
            head = self._parser.take_head()
            fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers)
            self._seen = Stream(Ending.OPEN, now, head.status, fields, now, closes=head.ends_with_connection)
            self._follower = Follower(self._seen.coding)
        if body := self._parser.take_body():
            self._reads.append(now)
            self._follower.feed(body, now)
        if self._listener is not None:
            self._listener(len(self._follower.marks))
