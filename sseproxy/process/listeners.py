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


# Invariants
#   1. While a port is shared, no other program can take it: it is bound once without SO_REUSEPORT first.
#   2. A socket exists in as many processes as were forked behind it. New connections are refused when the last copy
#      closes, so each process closes what it does not serve: a worker the ports of others, the parent all of them.
#   3. `paths` names only files that this process has made. A worker's list is empty: the parent removes them.
#
# Hazards
#   - A worker dies with connections in its queue: its successor gets the same socket, so they are served.
#   - A unix socket's file outlives a killed process. It is stale if connecting is refused, and only then removed.
#   - Two processes start at once on one path: the file of the other is in use as soon as it listens. A file is removed
#     before its sockets close, never behind that, when the next process may have made one in its place.


@dataclass(slots=True)
class Listeners:
    """The listening sockets of all workers, as seen from one process.

    For TCP every worker has sockets of its own on the same port, and the kernel spreads the connections over them.
    A unix socket is one for all. names: for people, in the order of the addresses.
    """

    by_worker: list[list[socket.socket]]
    names: list[str]
    paths: list[str] = field(default_factory=list)

    def add_tcp(self, address: Address, scheme: str) -> None:
        """Listen on all addresses that a host and port stand for."""
        port, found = address.port, resolve(address.host)
        for family, host in found:
            try:
                port = self.add_port(family, host, port, dual=not address.host and socket.has_dualstack_ipv6())
            except OSError as error:
                # A name such as localhost may stand for an IPv6 address too, on a machine that has IPv6 switched off.
                if error.errno != errno.EADDRNOTAVAIL or (family, host) == found[-1]:
                    raise
        shown = f"[{address.host}]" if ":" in address.host else address.host or "*"
        self.names.append(f"{scheme}://{shown}:{port}")

    def add_port(self, family: socket.AddressFamily, host: str, port: int, *, dual: bool) -> int:
        """Give every worker a socket on one address; returns the port, which the kernel chooses if it is 0."""
        shared = len(self.by_worker) > 1
        if shared and port:
            # Is it free? A port that is shared would always seem so.
            _bind(family, host, port, shared=False, dual=dual).close()
        for sockets in self.by_worker:
            sock = _bind(family, host, port, shared=shared, dual=dual)
            sockets.append(sock)
            port = sock.getsockname()[1]
        return port

    def add_unix(self, address: Address, path: str) -> None:
        """Listen on a unix socket, with the rights that `address` asks for."""
        remove_stale_socket(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            self.paths.append(path)
            # Rights come before `listen`: until then no client can connect.
            if address.group is not None:
                os.chown(path, -1, group_id(address.group))
            Path(path).chmod(_SOCKET_MODE if address.mode is None else address.mode)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        for sockets in self.by_worker:
            sockets.append(sock)
        self.names.append(f"unix:{path}")

    def keep(self, index: int) -> None:
        """In a worker: close what only other workers need."""
        others = {sock for sockets in self.by_worker for sock in sockets} - set(self.by_worker[index])
        for sock in others:
            sock.close()
        self.paths.clear()

    def leave_to_workers(self) -> None:
        """In the parent, when the workers are to end: close the ports that are a worker's own.

        Otherwise connections would go on waiting at the port of one that has ended before the others.
        """
        shared = set(self.by_worker[0]).intersection(*self.by_worker[1:])
        for sock in {sock for sockets in self.by_worker for sock in sockets} - shared:
            sock.close()

    def close(self) -> None:
        """Close everything and remove the files of unix sockets; new connections are refused from now on."""
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
            with _explained(str(address)):
                if address.path is not None:
                    listeners.add_unix(address, address.path)
                else:
                    listeners.add_tcp(address, scheme)
    except BaseException:
        listeners.close()
        raise
    return listeners


def resolve(host: str) -> Sequence[tuple[socket.AddressFamily, str]]:
    """Return the addresses of `host`, each once; all interfaces if it is empty. Raises `OSError`."""
    if not host:
        return [(socket.AF_INET6, "::")] if socket.has_dualstack_ipv6() else [(socket.AF_INET, "0.0.0.0")]
    # Bytes: a host of the configuration is ASCII, and Python need not load its tables of Unicode.
    found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((info[0], str(info[4][0])) for info in found))


def _bind(family: socket.AddressFamily, host: str, port: int, *, shared: bool, dual: bool) -> socket.socket:
    sock = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared, dualstack_ipv6=dual)
    # Connections inherit it: a client whose machine has gone is noticed also while a stream is silent.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def remove_stale_socket(path: str) -> None:
    """Remove a socket that a killed process has left behind. Raises `OSError` if anything else is at `path`."""
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
    """Turn the system's errors into a `ListenError` that names the address."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "the address is in use"
        else:
            # socket.create_server adds the address, in the notation of Python.
            reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise ListenError(f"cannot listen on {name}: {reason}") from error
    except LookupError as error:
        raise ListenError(f"cannot listen on {name}: there is no such group") from error
