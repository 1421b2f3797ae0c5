"""Which sockets does the process listen on, and who shares them?"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sseproxy.config.addresses import Address
from sseproxy.config.files import group_id

#: Connections that may wait to be accepted, per socket. The kernel caps it (net.core.somaxconn).
BACKLOG = 4096


#: Connecting needs the right to write, and the gateway runs as another user. The folder decides who gets that far.
_SOCKET_MODE = 0o666


class ListenError(Exception):
    """An address cannot be listened on; the text says which and why."""


@dataclass(slots=True)
class Listeners:
    """The listening sockets of all workers, as seen from one process.

    For TCP every worker has sockets of its own on the same port, and the kernel spreads the connections over them;
    a worker that dies leaves its queue to its successor. A unix socket is one for all.
    """

    by_worker: list[list[socket.socket]]
    names: list[str]
    paths: list[str] = field(default_factory=list)

    def keep(self, index: int) -> None:
        """In a worker: let go of what only others need. A port is closed when all processes have let go of it."""
        others = {sock for sockets in self.by_worker for sock in sockets} - set(self.by_worker[index])
        for sock in others:
            sock.close()
        self.paths.clear()

    def leave_to_workers(self) -> None:
        """In the parent, when the workers are to end: a port of a worker's own lives as long as the worker does.

        Otherwise connections would go on waiting at the port of one that has ended before the others.
        """
        shared = set(self.by_worker[0]).intersection(*self.by_worker[1:])
        for sock in {sock for sockets in self.by_worker for sock in sockets} - shared:
            sock.close()

    def close(self) -> None:
        """Close everything and remove the files of unix sockets; new connections are refused from now on.

        The files go first: as long as somebody answers there, no other process takes a file for a stale one, and
        the one that it makes in its place is never removed here.
        """
        while self.paths:
            with contextlib.suppress(FileNotFoundError):
                Path(self.paths.pop()).unlink()
        for sock in {sock for sockets in self.by_worker for sock in sockets}:
            sock.close()


def listen(addresses: Iterable[Address], *, workers: int, scheme: str) -> Listeners:
    """Bind and listen, or raise `ListenError` and leave nothing open."""
    listeners = Listeners([[] for _ in range(workers)], [])
    try:
        for address in addresses:
            if address.path is not None:
                _listen_unix(listeners, address, address.path)
            else:
                _listen_tcp(listeners, address, scheme)
    except BaseException:
        listeners.close()
        raise
    return listeners


def _listen_tcp(listeners: Listeners, address: Address, scheme: str) -> None:
    with _explained(str(address)):
        port, found = address.port, _resolve(address.host)
        for family, host in found:
            try:
                port = _listen_on(listeners, family, host, port, dual=not address.host and socket.has_dualstack_ipv6())
            except OSError as error:
                # A name such as localhost may stand for an IPv6 address too, on a machine that has IPv6 switched off.
                if error.errno != errno.EADDRNOTAVAIL or (family, host) == found[-1]:
                    raise
        shown = f"[{address.host}]" if ":" in address.host else address.host or "*"
        listeners.names.append(f"{scheme}://{shown}:{port}")


def _listen_on(listeners: Listeners, family: socket.AddressFamily, host: str, port: int, *, dual: bool) -> int:
    """Give every worker a socket on one address; returns the port, which the kernel chooses if it is 0."""
    shared = len(listeners.by_worker) > 1
    if shared and port:
        # Is it free? A port that is shared would always seem so.
        _bind(family, host, port, shared=False, dual=dual).close()
    for sockets in listeners.by_worker:
        sock = _bind(family, host, port, shared=shared, dual=dual)
        sockets.append(sock)
        port = sock.getsockname()[1]
    return port


def _resolve(host: str) -> Sequence[tuple[socket.AddressFamily, str]]:
    if not host:
        return [(socket.AF_INET6, "::")] if socket.has_dualstack_ipv6() else [(socket.AF_INET, "0.0.0.0")]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((info[0], str(info[4][0])) for info in found))


def _bind(family: socket.AddressFamily, host: str, port: int, *, shared: bool, dual: bool) -> socket.socket:
    sock = socket.create_server(
        (host, port),
        family=family,
        backlog=BACKLOG,
        reuse_port=shared,
        dualstack_ipv6=dual,
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # the connections inherit it
    return sock


def _listen_unix(listeners: Listeners, address: Address, path: str) -> None:
    with _explained(f"unix:{path}"):
        _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            listeners.paths.append(path)
            # Before anybody can connect.
            if address.group is not None:
                os.chown(path, -1, group_id(address.group))
            Path(path).chmod(_SOCKET_MODE if address.mode is None else address.mode)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        for sockets in listeners.by_worker:
            sockets.append(sock)
        listeners.names.append(f"unix:{path}")


def _remove_stale(path: str) -> None:
    """A socket that nobody answers was left behind by a process that was killed."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()
            else:
                raise OSError(errno.EADDRINUSE, "another process listens there")


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ListenError(f"cannot listen on {name}: {_reason(error)}") from error
    except LookupError as error:
        raise ListenError(f"cannot listen on {name}: there is no such group") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use"
    # socket.create_server adds the address, in the notation of Python.
    return (error.strerror or str(error)).partition(" (while attempting")[0]
