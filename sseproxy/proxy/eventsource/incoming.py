"""How much memory may the bodies take that clients are sending to have them kept, and whose are they?"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing

from sseproxy.core.errors import BadRequest, StoreFull
from sseproxy.core.limits import MIB
from sseproxy.proxy.body import BodyReader

#: Bytes of all bodies together.
MOST_INCOMING = 64 * MIB

#: A client has one of so many parts of that at most, and the network around it two; a single body may be larger.
SHARES = 8

#: Seconds for which a client may send a body, if the route leaves it no less.
BODY_TIME = 30.0

_RETRY_AFTER = 1  # seconds


class IncomingBodies:
    """The request bodies that are being read for tickets.

    most: bytes of all together. shares: parts of it, of which a client has one. time: seconds for each body.
    """

    # Plan: every body is read piece by piece, and each piece is counted before the next is asked for: for all clients,
    # for its client, and for each wider network that the client is in. One limit that is passed refuses the body.
    #
    # Invariants:
    # 1. What is counted for a body is taken off again when its reading ends, however it ends. Then no counter holds a
    #    client or network of which nothing is left.
    # 2. Only the first of several bodies that a client sends at a time may be larger than the client's share. Else a
    #    body of the size that the route allows could never come.
    #
    # Hazard: a client counts from its first body on, also while nothing of that has come: a hundred requests whose
    # bodies are held back and then sent at once would each take themselves for the first.

    def __init__(self, *, most: int = MOST_INCOMING, shares: int = SHARES, time: float = BODY_TIME) -> None:
        self.most = most
        self.time = time
        self._shares = shares
        self._by_client: Counter[str] = Counter()
        self._by_network: Counter[str] = Counter()
        self._bodies: Counter[str] = Counter()  # how many, by client

    @property
    def size(self) -> int:
        """Bytes of all that have come and are still incomplete."""
        return self._by_client.total()

    @property
    def is_idle(self) -> bool:
        """True if no body is being read, so that nothing is counted."""
        return not (self._bodies or self._by_client or self._by_network)

    async def read(self, body: BodyReader, owners: Sequence[str], *, within: float | None) -> bytes:
        """Return the whole body. owners: the client, and the wider networks that it is in. within: seconds.

        Raises `StoreFull` if it would take more than its share, and `ClientError`.
        """
        pieces: list[bytes] = []
        client, *wider = owners
        share = self.most // (self._shares if client in self._bodies else 1)
        self._bodies[client] += 1
        try:
            async with asyncio.timeout(min(within or self.time, self.time)), aclosing(body.pieces()) as coming:
                async for piece in coming:
                    pieces.append(piece)
                    self._count(client, wider, len(piece))
                    self._check(client, wider, share)
        except TimeoutError:
            raise BadRequest("The request body did not come in time.") from None
        finally:
            self._count(client, wider, -sum(map(len, pieces)))
            self._bodies[client] -= 1
            if not self._bodies[client]:
                del self._by_client[client], self._bodies[client]
        return b"".join(pieces)

    def _count(self, client: str, wider: Sequence[str], size: int) -> None:
        self._by_client[client] += size
        for network in wider:
            self._by_network[network] += size
            if not self._by_network[network]:
                del self._by_network[network]

    def _check(self, client: str, wider: Sequence[str], share: int) -> None:
        if self._by_client.total() > self.most:
            raise StoreFull("Too many requests are being kept.", retry_after=_RETRY_AFTER)
        if self._by_client[client] > share:
            raise StoreFull("Too many requests of this client are being kept.", retry_after=_RETRY_AFTER)
        for level, network in enumerate(wider, 1):
            others = self._by_network[network] - self._by_client[client]
            if others and self._by_network[network] * self._shares > self.most << level:
                raise StoreFull("Too many requests of this network are being kept.", retry_after=_RETRY_AFTER)
