"""Which node of a cluster keeps a key, and which key is a command about?"""

from bisect import bisect_right
from collections.abc import Sequence

from sseproxy.core.errors import ReplyError
from sseproxy.core.frozen import frozen
from sseproxy.stores.redis.ports import Argument, Command, Reply
from sseproxy.stores.redis.urls import Address

_SLOTS = 16384

#: Where the first key is, if it is not right behind the command. None: there is no key, any node will do.
_PLACES: dict[bytes, int | None] = {
    b"XINFO": 2, b"OBJECT": 2, b"MEMORY": 2, b"EVAL": 3, b"EVALSHA": 3,
    b"PUBLISH": None, b"PING": None, b"INFO": None, b"SCRIPT": None, b"CONFIG": None, b"CLUSTER": None,
    b"CLIENT": None, b"TIME": None, b"ECHO": None,
}  # fmt: skip


@frozen
class SlotMap:
    """Ranges of slots in ascending order, each with the primary that serves it."""

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    owners: tuple[Address, ...] = ()

    @classmethod
    def read(cls, reply: Reply | ReplyError, asked: Address) -> "SlotMap":
        """Read the reply to ``CLUSTER SLOTS``. A node without a name is the one that was asked."""
        if isinstance(reply, ReplyError) or not isinstance(reply, list):
            return cls()
        ranges = sorted((int(start), int(end), primary) for start, end, primary, *_ in reply)
        return cls(
            tuple(start for start, _, _ in ranges),
            tuple(end for _, end, _ in ranges),
            tuple(((primary[0] or b"").decode() or asked[0], int(primary[1])) for _, _, primary in ranges),
        )

    @property
    def primaries(self) -> tuple[Address, ...]:
        """All nodes that serve slots, in a stable order."""
        return tuple(sorted(set(self.owners)))

    def owner(self, slot: int) -> Address | None:
        """The node that serves `slot`; None if no node does."""
        at = bisect_right(self.starts, slot) - 1
        return self.owners[at] if at >= 0 and slot <= self.ends[at] else None


def slot_of(key: bytes) -> int:
    """The slot of a key, or of its {hash tag}."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return _crc16(key) % _SLOTS


def key_of(command: Command) -> bytes | None:
    """The first key of a command, None if it has none."""
    name = _encoded(command[0]).upper()
    if name == b"XREAD":
        upper = [_encoded(each).upper() for each in command]
        at: int | None = upper.index(b"STREAMS") + 1
    else:
        at = _PLACES.get(name, 1)
    return None if at is None or at >= len(command) else _encoded(command[at])


def moved_to(error: ReplyError, asked: Address) -> Address:
    """The node that ``MOVED SLOT HOST:PORT`` or ``ASK SLOT HOST:PORT`` names."""
    host, _, port = error.reply.split(" ")[2].rpartition(":")
    return host or asked[0], int(port)


def _encoded(argument: Argument) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()


def _table() -> Sequence[int]:
    """CRC16-XMODEM, as the cluster specification says."""
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        table.append(crc & 0xFFFF)
    return tuple(table)


_CRC16 = _table()


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFF00) ^ _CRC16[(crc >> 8) ^ byte]
    return crc
