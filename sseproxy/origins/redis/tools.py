"""What does an origin need to talk to one Redis?"""

from sseproxy.core.frozen import frozen
from sseproxy.stores.redis.blocking import BlockingReads
from sseproxy.stores.redis.link import Link
from sseproxy.stores.redis.subscriber import Subscriber


@frozen
class RedisTools:
    """The connections of one process to one Redis. They are the caller's to start and, after the origin, to close.

    prefix, node: of keys and channels for sseproxy's own use; `node` is unique among processes.
    """

    link: Link
    subscriber: Subscriber
    blocking: BlockingReads
    prefix: bytes
    node: bytes
