"""How does a client abuse the admin listener? A program, so that what it costs is not paid by the test that measures.

    python tests/support/admin_abusers.py WAY PORT

It writes how many connections it has opened, again and again, and goes on until its standard input ends.
"""

import contextlib
import enum
import os
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable

_SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: Clients that are stuck at the same time.
STUCK = 50

#: Connections of a storm; and of one whose half asks for a page.
STORM, HASTE = 10_000, 2_000


class Way(enum.Enum):
    """What the clients do."""

    SILENT = "connect and say nothing"
    DEAF = "ask for the metrics and read nothing"
    HALF = "send half a request"
    LORIS = "send a byte of the request now and then"
    STORM = "connect and leave, ten thousand times"
    HASTY = "ask for the metrics, and leave before the answer, again and again"


class Clients:
    """The last `STUCK` connections: an older one is reset."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: deque[socket.socket] = deque()
        self.opened = 0

    def open(self, data: bytes = b"") -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.connect(("127.0.0.1", self._port))
        with contextlib.suppress(ConnectionError):  # closed already: others have come meanwhile
            client.sendall(data)
        self._open.append(client)
        self.opened += 1
        if len(self._open) > STUCK:
            self._open.popleft().close()
        return client

    def say(self, data: bytes) -> None:
        """To all of them; what the other side has closed is opened again."""
        for client in list(self._open):
            try:
                client.sendall(data)
            except ConnectionError:
                self._open.remove(client)
                client.close()
                self.open()

    def report(self) -> None:
        """Write how many there have been."""
        with contextlib.suppress(BrokenPipeError):
            os.write(1, b"%d\n" % self.opened)


def is_over(seconds: float) -> bool:
    """Whether the test wants the abuse to end; waits up to `seconds` for that."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def stick(clients: Clients, data: bytes) -> None:
    """Be stuck. What is closed by the listener comes back, as a scraper does."""
    for _ in range(STUCK):
        clients.open(data)
    clients.report()
    while not is_over(0.1):
        for _ in range(STUCK // 10):
            clients.open(data)
        clients.report()


def loris(clients: Clients) -> None:
    for _ in range(STUCK):
        clients.open()
    clients.report()
    place = 0
    while not is_over(0.02):
        clients.say(_SCRAPE[place : place + 1])
        place = (place + 1) % (len(_SCRAPE) - 4)  # never to the end of the head


def storm(clients: Clients, count: int, data: bytes) -> None:
    for number in range(count):
        clients.open(data if number % 2 else b"")
        if number % STUCK == 0:
            clients.report()
            if is_over(0):
                return
    clients.report()
    while not is_over(1.0):
        pass


WAYS: dict[Way, Callable[[Clients], None]] = {
    Way.SILENT: lambda clients: stick(clients, b""),
    Way.DEAF: lambda clients: stick(clients, _SCRAPE),
    Way.HALF: lambda clients: stick(clients, _SCRAPE[:-2]),
    Way.LORIS: loris,
    Way.STORM: lambda clients: storm(clients, STORM, b""),
    Way.HASTY: lambda clients: storm(clients, HASTE, _SCRAPE),
}


if __name__ == "__main__":
    WAYS[Way[sys.argv[1]]](Clients(int(sys.argv[2])))
