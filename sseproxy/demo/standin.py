"""What does nginx do to a silent stream, where there is no nginx to show it?"""

import asyncio
from collections.abc import Coroutine, Mapping

from sseproxy.demo.embedded import closed
from sseproxy.demo.wire import Head, read_head

_PAGE = b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n</body>\r\n</html>\r\n"
# As nginx: these belong to one connection, and each exchange gets connections of its own here.
_NOT_FORWARDED = {"connection", "keep-alive", "proxy-connection", "te", "upgrade"}


class Targets:
    """Path prefixes, and the port of the service behind each; the longest prefix wins."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = sorted(ports.items(), key=lambda target: -len(target[0]))

    def forward(self, head: Head) -> tuple[bytes, int]:
        """Return the request head as the service gets it, without the prefix that chose it, and the service's port."""
        method, target, version = head.start
        prefix, port = next((prefix, port) for prefix, port in self._ports if target.startswith(prefix))
        kept = [f"{name}: {value}" for name, value in head.fields if name.lower() not in _NOT_FORWARDED]
        lines = [f"{method} /{target.removeprefix(prefix)} {version}", *kept, "Connection: close"]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", port


class StandIn:
    """A gateway with nginx's read timeout: 504 before the response head, a cut connection after it.

    One exchange per connection, so that what the service sends can be passed on byte for byte and its end seen.
    """

    def __init__(self, targets: Mapping[str, int], patience: float) -> None:
        self._targets = Targets(targets)
        self._patience = patience

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        head = await read_head(reader)
        if head is None:
            return
        body = await reader.readexactly(int(head.field("content-length") or 0))
        request, port = self._targets.forward(head)
        try:
            service, sending = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.write(_error(b"502 Bad Gateway"))
            return
        try:
            sending.write(request + body)
            await self._until_one_leaves(self._relay(service, writer), reader)
        finally:
            await closed(sending)

    async def _until_one_leaves(self, relaying: Coroutine[None, None, None], client: asyncio.StreamReader) -> None:
        """Relay, but no longer than the client is there: nginx closes its upstream at once as well."""
        tasks = {asyncio.ensure_future(relaying), asyncio.ensure_future(client.read(1))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay(self, service: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on until the service ends or is silent for too long: an error page if nothing has been sent."""
        begun, error = False, b"502 Bad Gateway"
        try:
            while data := await asyncio.wait_for(service.read(65536), self._patience):
                begun = True
                writer.write(data)
                await writer.drain()
        except TimeoutError:
            error = b"504 Gateway Time-out"
        except ConnectionError:
            pass
        if not begun:
            writer.write(_error(error))
            await writer.drain()


def _error(status: bytes) -> bytes:
    page = _PAGE % (status, status)
    head = b"HTTP/1.1 %b\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, len(page)) + page
