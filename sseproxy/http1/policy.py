"""What may a client's connection cost, and how long may it last?"""

from typing import Final

from sseproxy.core.frozen import frozen
from sseproxy.core.limits import KIB

#: Seconds for which the rest of a request is read, and thrown away, behind a response that came before its end. A
#: connection that is closed with bytes unread is reset, and the response is lost on its way.
READ_OFF: Final = 5.0


@frozen
class HeadLimits:
    """How large a request head may be. Work on it, such as on lists and cookies, is in proportion to its size.

    size: bytes of request line and fields together, and again of trailers. fields: how many.
    """

    size: int = 64 * KIB
    fields: int = 256


@frozen
class ServerPolicy:
    """The limits of client connections. Times are in seconds.

    connections: how many one process may have, over all of its listeners; ``None``: no limit.
    idle: in which the head of a request has to come, from the connection's beginning or the last response's end on.
    look_every: between two looks at which connections are idle.
    queued: requests that may wait for their turn. What has come beyond them stays bytes, which take a fraction of the
    space. tail: bytes behind a request to switch protocols that are kept until it is answered.
    read_off: see `READ_OFF`. tls_handshake: in which a client has to finish its handshake.
    tls_close: in which a client has to take the end of what was sent to it over TLS, which has no half to close. How
    much of it the network has taken, the transport does not tell.
    """

    connections: int | None = None
    head: HeadLimits = HeadLimits()
    idle: float = 75.0
    look_every: float = 5.0
    queued: int = 16
    tail: int = 64 * KIB
    read_off: float = READ_OFF
    tls_handshake: float = 10.0
    tls_close: float = 30.0
