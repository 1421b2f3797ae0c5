"""Where to listen and whom to trust: how are addresses and networks written?

Like `values`: every function takes a value as YAML gave it, and returns what it means or raises `BadValue`.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from sseproxy.config.values import BadValue, BadValues, boolean, describe, line, nearest, quote
from sseproxy.core.frozen import frozen

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What fits into ``sockaddr_un`` on Linux, without the closing NUL.
LONGEST_SOCKET_PATH = 107

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
# Hosts that stand for more than one address, and the IP versions in which they do. All interfaces are those of both
# versions: the socket is bound dual-stack.
_WILDCARDS = {"": (4, 6), "0.0.0.0": (4,), "::": (6,)}
_LOOPBACK = {"localhost": (4, 6), "127.0.0.1": (4,), "::1": (6,)}


@frozen
class Address:
    """Something to listen on: a TCP host and port, or the path of a unix socket.

    host: without brackets; empty for all interfaces. port: 0 lets the kernel choose.
    mode, group: the rights of a unix socket's file and the group that it belongs to, by name or number; ``None``: who
    reaches its folder may connect, and the process's own group. trust: peers on it are trusted proxies.
    """

    host: str = ""
    port: int = 0
    path: str | None = None
    mode: int | None = None
    group: str | None = None
    trust: bool = True

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether a connection to it stays on this machine, as far as the spelling tells."""
        return self.path is not None or self.host in _LOOPBACK or self.host in _WILDCARDS

    @property
    def is_loopback(self) -> bool:
        """True if only this machine reaches it, as far as the spelling tells."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def overlaps(self, other: "Address") -> bool:
        """Whether the second of the two could not be bound, or would take the first one's connections."""
        if self.path is not None or other.path is not None:
            return self.path == other.path
        # Each port that the kernel chooses is another one.
        if self.port != other.port or self.port == 0:
            return False
        if self.host == other.host or ({self.host, other.host} <= _LOOPBACK.keys() and self._shares_family(other)):
            return True
        return (self.host in _WILDCARDS or other.host in _WILDCARDS) and self._shares_family(other)

    def _shares_family(self, other: "Address") -> bool:
        return not set(_families(self.host)).isdisjoint(_families(other.host))


def _families(host: str) -> tuple[int, ...]:
    """The IP versions that a host may stand for."""
    if host in _WILDCARDS:
        return _WILDCARDS[host]
    if host in _LOOPBACK:
        return _LOOPBACK[host]
    return (6,) if ":" in host else (4,) if host.replace(".", "").isdigit() else (4, 6)


def listen_address(value: object) -> Address:
    """``HOST:PORT``, ``[::1]:8080``, ``:8080`` (all interfaces), ``unix:/run/sseproxy.sock``, or `unix_listener`."""
    if isinstance(value, Mapping):
        return unix_listener({key: inner for key, inner in value.items() if inner is not None})
    # A lone port is the likely mistake; which interfaces it should listen on must be said.
    if isinstance(value, int) and not isinstance(value, bool):
        raise BadValue(f"expected HOST:PORT, got {describe(value)}", f'"127.0.0.1:{value}" or ":{value}"')
    written = line(value)
    if written.startswith("unix:"):
        return Address(path=socket_path(written.removeprefix("unix:").removeprefix("//")))
    host, colon, port = written.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        hint = f"{written or '127.0.0.1'}:8080"
        if ":" in written:
            hint = bracketed(written) or f"[{written}]:8080"
        if written.isdigit():
            hint = f"127.0.0.1:{written} or :{written}"
        raise BadValue(f"expected HOST:PORT, got {describe(value)}", f"such as {hint}")
    return Address(host=host_name(host) if host else "", port=port_number(port, least=0))


def bracketed(written: str) -> str:
    """What was meant by an IPv6 address and a port without brackets around the address; empty if it is none."""
    # ::1:8080 is an address by itself, too, and hardly ever meant as one.
    host, _, port = written.rpartition(":")
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return ""
    return f"[{host}]:{port}" if len(port) > 1 and port.isdigit() else ""


def unix_listener(value: Mapping[str, object]) -> Address:
    """``{unix: /run/sseproxy.sock, mode: "0660", group: www-data, trust: false}``."""
    found, wrong = {}, []
    if "unix" not in value:
        wrong.append(BadValue("names no socket", "unix: /run/sseproxy.sock"))
    # All keys are read, so that all that is wrong with them is reported at once.
    for key, inner in value.items():
        if key not in _UNIX_KEYS:
            hint = nearest(key, _UNIX_KEYS) or f"one of {', '.join(_UNIX_KEYS)}"
            wrong.append(BadValue("unknown key", hint, below=(key,), is_key=True))
            continue
        try:
            found[key] = _UNIX_KEYS[key](inner)
        except BadValue as error:
            wrong.append(BadValue(error.message, error.hint, below=(key,), is_key=error.is_key))
    if wrong:
        raise BadValues(wrong)
    return Address(path=found.pop("unix"), **found)


def file_mode(value: object) -> int:
    """The rights of a file, in octal digits; as text, because ``0660`` is six hundred and sixty in YAML 1.2."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise BadValue(f"expected octal digits as text, got {describe(value)}", 'put them in quotes: "0660"')
    written = line(value)
    if not _MODE.fullmatch(written):
        raise BadValue(f"{quote(written)} is no mode of a file", 'three octal digits, such as "0660"')
    return int(written, 8)


def group_name(value: object) -> str:
    """The name or the number of a group."""
    found = str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else line(value)
    if not found:
        raise BadValue("must not be empty")
    return found


def format_listen(address: Address) -> str | dict[str, object]:
    """What `listen_address` reads as `address`."""
    if address == Address(address.host, address.port, address.path):
        return str(address)
    found: dict[str, object] = {"unix": address.path}
    if address.mode is not None:
        found["mode"] = f"{address.mode:04o}"
    if address.group is not None:
        found["group"] = address.group
    return found if address.trust else {**found, "trust": False}


def socket_path(path: str) -> str:
    """The path of a unix socket."""
    if not path.startswith("/"):
        raise BadValue(f"the path of a unix socket must begin with a slash, not {quote(path)}")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST_SOCKET_PATH:
        raise BadValue(f"the path of a unix socket has at most {LONGEST_SOCKET_PATH} bytes")
    return path


def host_name(host: str) -> str:
    """A host in lower case, an IPv6 address without its brackets (RFC 3986 section 3.2.2)."""
    if host.startswith("[") and host.endswith("]"):
        return _ip(host[1:-1], version=6)
    if host.replace(".", "").isdigit():
        return _ip(host, version=4)
    if not _HOST_NAME.fullmatch(host):
        hint = "" if host.isascii() else "write an international name in its xn-- form"
        raise BadValue(f"{quote(host)} is not a host name", hint)
    return host.lower()


def _ip(text: str, *, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or "%" in text:
        raise BadValue(f"{quote(text)} is not an IPv{version} address")
    return str(address)


def port_number(text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= 65535):
        raise BadValue(f"{quote(text)} is not a port between {least} and 65535")
    return int(text)


_UNIX_KEYS: Mapping[str, Callable[[object], Any]] = {
    "unix": lambda value: socket_path(line(value)),
    "mode": file_mode,
    "group": group_name,
    "trust": boolean,
}


def network(value: object) -> IPNetwork:
    """A network in CIDR notation, or one address."""
    written = line(value)
    try:
        loose = ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise BadValue(f"{quote(written)} is not a network", "such as 10.0.0.0/8 or ::1/128") from None
    if "/" in written and ipaddress.ip_interface(written).ip != loose.network_address:
        raise BadValue(f"{quote(written)} has bits beyond its mask", f"did you mean {loose}?")
    return loose
