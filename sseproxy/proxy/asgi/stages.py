"""How far is a response?"""

from enum import Enum, auto

#     OPEN ─► FINISHING ◄─► SETTLING     from each of the four:
#       │         └───────► OVER         abort_at_once ─► BROKEN
#       └───► BREAKING ───► BROKEN       lose ─► GONE, but for SETTLING: who leaves behind the end has got all


class Stage(Enum):
    """How far a response is, towards the server."""

    OPEN = auto()
    FINISHING = auto()  # its end goes out behind what waits
    SETTLING = auto()  # the client has all but the end, and is still sending
    BREAKING = auto()  # what waits goes out, and then it is broken off
    OVER = auto()  # the server has all of it
    BROKEN = auto()  # it has begun, or should have, and will not come to its end
    GONE = auto()  # the client has left


OPEN, FINISHING, SETTLING, BREAKING, OVER, BROKEN, GONE = Stage

#: The server may still get something.
UNDER_WAY = (OPEN, FINISHING, SETTLING, BREAKING)
