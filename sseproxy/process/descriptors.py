"""How many sockets may the process have open?"""

import asyncio
import logging
import os
import resource

from sseproxy.http1.policy import ServerPolicy
from sseproxy.logs import LOGGER

_log = logging.getLogger(LOGGER)

#: Descriptors of a stream: the client's connection and the upstream's.
_PER_STREAM = 2

#: With this many there is nothing to warn of: a default of ten thousand streams is no plan to have them.
_PLENTY = 8192

#: Descriptors for everything else: listeners, pools, logs, requests that are no streams.
_RESERVE = 256

#: Descriptors that clients never get: for listeners, the admin side, logs, and connections that are being closed.
_HOUSEKEEPING = 64


#: Seconds between two looks at how many descriptors are left, and the part of all that is few.
_BETWEEN_LOOKS = 2.0
_FEW = 0.1


def raise_file_limit(streams: int) -> int:
    """Take as many descriptors as the system allows. Warns if they are not enough for `streams` event streams.

    Systems give a process 1024 by default, enough for some 500 streams, and let it have many more if it asks.
    Returns the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS says infinity and means a number of its own
            _log.debug("the limit of open files stays at %d: %s", soft, error)
    if soft != resource.RLIM_INFINITY and soft < min(streams * _PER_STREAM + _RESERVE, _PLENTY):
        most = max(soft - _RESERVE, 0) // _PER_STREAM
        _log.warning("%d open files are allowed: enough for about %d streams (limits.streams: %d)", soft, most, streams)
    return soft


def connections_allowed(wanted: int | None) -> int | None:
    """Return how many clients may be connected to this process; ``None``: any number.

    wanted: `server.connections`, ``None`` for auto. More than there are descriptors for is not given, with a warning.

    Each of them may need a connection to an upstream, and `_HOUSEKEEPING` descriptors are left for what must work when
    clients have taken all of their share. `raise_file_limit` comes first.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = None if soft == resource.RLIM_INFINITY else max((soft - _HOUSEKEEPING) // _PER_STREAM, 1)
    if wanted is None or most is None:
        return most if wanted is None else wanted
    if wanted > most:
        _log.warning(
            "%d open files are allowed: enough for %d connections (server.connections: %d)", soft, most, wanted
        )
    return min(wanted, most)


def server_policy(connections: int | None) -> ServerPolicy:
    """Return how client connections are treated; see `connections_allowed`."""
    return ServerPolicy(connections=connections_allowed(connections))


class DescriptorWatch:
    """Warns once, when fewer than a tenth of the descriptors are left: after the last one each connection fails.

    Looks every other second, until then. The caller must call `close` later.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.look()

    def look(self) -> None:
        """Give the warning, or look again later."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return
        try:
            # The system hands out the lowest number that is free: all below it are in use.
            lowest = os.dup(2)
            os.close(lowest)
        except OSError:
            lowest = soft
        if lowest < soft * (1 - _FEW):
            self._timer = self._loop.call_later(_BETWEEN_LOOKS, self.look)
        else:
            _log.warning(
                "few file descriptors are left: %d of %d are in use. A stream takes two; without any, requests get "
                "503. Allow the process more (ulimit -n, LimitNOFILE=)",
                lowest,
                soft,
            )

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
