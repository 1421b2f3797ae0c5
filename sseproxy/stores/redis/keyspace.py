"""Does this Redis ring when a stream grows?"""

import asyncio
from functools import partial

from sseproxy.core.errors import ReplyError
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.subscriber import Subscriber

#: Milliseconds that a key of sseproxy is kept.
_KEPT = 60_000


def keyspace_channel(database: int, key: bytes) -> bytes:
    """The channel of the keyspace notifications for `key`. Subscribe to it `everywhere`; messages are event names."""
    return b"__keyspace@%d__:%b" % (database, key)


async def rings(
    link: Link, subscriber: Subscriber, *, prefix: bytes = b"sseproxy", node: bytes, within: float = 1.0
) -> bool:
    """Add to a stream ``PREFIX:bell:NODE``; return True if its notification comes `within` seconds.

    In a cluster: to one stream of each primary, and all must ring. False also if the user may not do this, or if the
    subscription does not come about within that time. Raises `StoreAway`.
    """
    await link.run("PING")
    keys = link.key_for_each_node(b"%b:bell:%b" % (prefix, node))
    ready, rung = set[bytes](), set[bytes]()
    progress = asyncio.Event()

    def note(seen: set[bytes], key: bytes) -> None:
        seen.add(key)
        progress.set()

    def note_event(key: bytes, event: bytes) -> None:
        if event == b"xadd":
            note(rung, key)

    async def all_in(seen: set[bytes]) -> None:
        while len(seen) < len(keys):
            progress.clear()
            await progress.wait()

    subscriptions = [
        subscriber.subscribe(
            keyspace_channel(link.url.database, key),
            partial(note_event, key),
            partial(note, ready, key),
            everywhere=True,
        )
        for key in keys
    ]
    try:
        async with asyncio.timeout(within):
            await all_in(ready)
        for key in keys:
            replies = await link.run_all([("XADD", key, "MAXLEN", 1, "*", "n", 1), ("PEXPIRE", key, _KEPT)])
            if any(isinstance(reply, ReplyError) for reply in replies):
                return False
        async with asyncio.timeout(within):
            await all_in(rung)
    except TimeoutError:
        return False
    finally:
        for subscription in subscriptions:
            subscription.close()
    return True
