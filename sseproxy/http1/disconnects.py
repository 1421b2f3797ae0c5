"""Which clients leave while their connections are not read?

An event loop notices the end of a connection by reading. A connection that is paused, because its upload goes faster
than the upstream takes it or because it is full of further requests, would be kept, with its upstream, until
it is read again. So its socket is handed to the kernel with no other question than this one.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable


class DisconnectWatch:
    """The paused connections of a process. Must be made while the event loop runs.

    Where the kernel has no epoll nothing is watched: such a client is noticed when reading goes on.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is not None:
            self._loop.add_reader(self._epoll.fileno(), self._look)

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, fd: int, on_disconnect: Callable[[], None], *, is_heard_out: bool = False) -> None:
        """Call `on_disconnect` once when the other side of `fd` has closed, even in part, or was reset.

        is_heard_out: only for a reset: what came before an end will be read, and then the end itself.
        """
        if self._epoll is not None and fd >= 0 and fd not in self._calls:
            # Errors and hang-ups are reported unasked.
            self._epoll.register(fd, 0 if is_heard_out else select.EPOLLRDHUP)
            self._calls[fd] = on_disconnect

    def remove(self, fd: int) -> None:
        """Forget `fd`, before it is closed at the latest; nothing happens if it is not watched."""
        if self._epoll is not None and self._calls.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        self._calls.clear()

    def _look(self) -> None:
        if self._epoll is None:
            return
        for fd, _ in self._epoll.poll(0):
            call = self._calls.get(fd)
            self.remove(fd)
            if call is not None:
                call()
