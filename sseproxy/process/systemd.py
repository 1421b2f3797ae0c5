"""What does systemd hear of this process, if it has started it? (sd_notify(3))"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

_MICROSECONDS = 1_000_000


class Notifier:
    """Sends the states of a service to systemd: one datagram each, to the socket that it names.

    environ: of the process. Without ``NOTIFY_SOCKET`` in it nothing is sent.
    watchdog: seconds without `alive` after which systemd takes the process for stuck; ``None``: it does not look.
    """

    def __init__(
        self, environ: Mapping[str, str], *, pid: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An at sign stands for the zero byte of an abstract name (unix(7)). systemd has other addresses for machines.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._is_known = address.startswith(("/", "@"))
        self._clock = clock
        self.watchdog: float | None = None
        span, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        is_mine = not whose or whose == str(os.getpid() if pid is None else pid)
        if self._is_known and is_mine and span.isascii() and span.isdigit() and int(span):
            self.watchdog = int(span) / _MICROSECONDS

    def ready(self, status: str) -> None:
        """Say that the process serves, or that a reload is over. status: a few words for ``systemctl status``."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload begins. `ready` must follow, however it ends."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * _MICROSECONDS)}", "STATUS=reloading")

    def stopping(self, within: float | None) -> None:
        """Say that the process drains. within: seconds that systemd shall wait for that; ``None``: as its unit says."""
        patience = () if within is None else (f"EXTEND_TIMEOUT_USEC={int(within * _MICROSECONDS)}",)
        self._send("STOPPING=1", "STATUS=draining", *patience)

    def alive(self) -> None:
        """Say that the process is not stuck; at least twice within `watchdog`."""
        if self.watchdog is not None:
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._is_known:
            return
        # A manager that is away, or does not read, must cost no stream: what it does not take now is dropped.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)
