"""Does this Redis ring when a stream grows?"""

from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.subscriber import Subscriber


def keyspace_channel(database: int, key: bytes) -> bytes:
    """The channel of the keyspace notifications for `key`. Subscribe to it `everywhere`; messages are event names."""
    return b"__keyspace@%d__:%b" % (database, key)


async def rings(
    link: Link, subscriber: Subscriber, *, prefix: bytes = b"sseproxy", node: bytes, within: float = 1.0
) -> bool:
    """Add to a stream ``PREFIX:bell:NODE`` and return True if its notification comes `within` seconds.

    Raises `StoreAway`.
    """
    raise NotImplementedError
