"""How far is a response?"""

from enum import Enum, auto

#     OPEN ─► FINISHING ◄─► SETTLING     from each of the four:
#       │         └───────► OVER         abort_at_once ─► BROKEN
#       └───► BREAKING ───► BROKEN       lose ─► GONE
#
# Hazard: behind the last message, some servers close a connection on which more of a request is to come. That resets
# it, and the client loses the response. So the last message waits for the rest. A client that leaves while a response
# is SETTLING has got all, if it has a length.


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

#: The server has not got the end yet, and may still get it.
UNENDED = (OPEN, FINISHING, SETTLING, BREAKING)
