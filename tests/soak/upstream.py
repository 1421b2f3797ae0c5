"""What is behind the proxy in the soak: feeds that go by the clock, and answers as long as the client asks for.

    python -m tests.soak.upstream PORT LOG RATE BEGAN

It may be killed at any time. A feed's event `n` belongs to the moment `BEGAN + n / RATE`, whichever process sends it.
"""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tests.soak.log import Log, now
from tests.soak.wire import event, path

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"

#: How many events of a feed with ids can still be asked for.
_KEPT = 20_000


class Feeds:
    """The feeds, and who has them open."""

    def __init__(self, log: Log, rate: float, began: float) -> None:
        self._log, self._rate, self._began = log, rate, began
        self._open: dict[str, dict[int, asyncio.StreamWriter]] = {}
        self._last = self.current

    @property
    def current(self) -> int:
        """The number of the newest event."""
        return int((now() - self._began) * self._rate)

    async def run(self) -> None:
        """Send each event at its time, for ever."""
        while True:
            await asyncio.sleep(max(0.0, self._began + (self._last + 1) / self._rate - now()))
            newest = self.current
            for n in range(self._last + 1, newest + 1):
                for source in self._open:
                    self._send(source, n)
            self._last = max(self._last, newest)

    def begin(self, source: str, call: int, writer: asyncio.StreamWriter, position: str) -> None:
        """Send a feed from now on; one with ids from `position`, if it is one."""
        if source.startswith("named") and position.isdecimal():
            for n in range(max(int(position), self._last - _KEPT) + 1, self._last + 1):
                self._write(source, n, call, writer)
        self._open.setdefault(source, {})[call] = writer

    def end(self, source: str, call: int) -> None:
        self._open[source].pop(call, None)

    def _send(self, source: str, n: int) -> None:
        for call, writer in self._open[source].items():
            self._write(source, n, call, writer)
        if not self._open[source]:
            self._log.note("emitted", call=0, source=source, n=n)

    def _write(self, source: str, n: int, call: int, writer: asyncio.StreamWriter) -> None:
        self._log.note("emitted", call=call, source=source, n=n)
        _chunk(writer, event(source, n))


class Upstream:
    """Takes requests, one a connection."""

    def __init__(self, log: Log, feeds: Feeds, first: int) -> None:
        self._log, self._feeds, self._calls = log, feeds, first

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        with contextlib.suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            target = urlsplit(first.split(" ")[1])
            self._calls += 1
            position = fields.get("last-event-id", "")
            gone = asyncio.ensure_future(reader.read(1))
            try:
                feed = target.path.rpartition("/")[2]
                if target.path == path(feed):
                    await self._feed(feed, position, writer, gone)
                else:
                    asked = json.loads(body) if body else dict(parse_qsl(target.query))
                    owner = fields.get("cookie", "").partition("session=")[2]
                    await self._answer(asked, owner, position, writer, gone)
            finally:
                gone.cancel()
        writer.transport.abort()

    async def _feed(
        self, source: str, position: str, writer: asyncio.StreamWriter, gone: "asyncio.Future[bytes]"
    ) -> None:
        call = self._calls
        self._log.note("asked", call=call, source=source, request=0, position=position)
        writer.write(_HEAD)
        self._log.note("opened", call=call)
        self._feeds.begin(source, call, writer, position)
        try:
            with contextlib.suppress(OSError):
                await gone
        finally:
            self._feeds.end(source, call)
            self._log.note("aborted", call=call)

    async def _answer(
        self,
        asked: dict[str, str],
        owner: str,
        position: str,
        writer: asyncio.StreamWriter,
        gone: "asyncio.Future[bytes]",
    ) -> None:
        call, source = self._calls, asked["source"]
        self._log.note("stream", source=source, key=asked.get("id", ""), owner=owner, is_answer=True)
        self._log.note("asked", call=call, source=source, request=0, position=position)
        await asyncio.wait([gone], timeout=float(asked["think"]))
        if not gone.done():
            writer.write(_HEAD)
            self._log.note("opened", call=call)
        for n in range(1, int(asked["events"]) + 1):
            if gone.done():
                break
            self._log.note("emitted", call=call, source=source, n=n)
            _chunk(writer, event(source, n))
            await writer.drain()
            await asyncio.wait([gone], timeout=1 / float(asked["rate"]))
        if gone.done():
            self._log.note("aborted", call=call)
        else:
            is_clean = asked["end"] == "clean"
            self._log.note("finished", call=call, is_clean=is_clean)
            if is_clean:
                writer.write(b"0\r\n\r\n")
                await writer.drain()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


def _chunk(writer: asyncio.StreamWriter, text: bytes) -> None:
    if not writer.is_closing():
        writer.write(b"%x\r\n%b\r\n" % (len(text), text))


async def main(port: int, file: Path, rate: float, began: float) -> None:
    log = Log(file)
    feeds = Feeds(log, rate, began)
    # The numbers of calls go on behind those of a process that was killed: one begins at most 1,000 in a millisecond.
    upstream = Upstream(log, feeds, int((now() - began) * 1000) * 1000)
    async with await asyncio.start_server(upstream.serve, "127.0.0.1", port):
        print("ready", flush=True)
        await feeds.run()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
