"""Where to listen, where to forward, whom to trust: how are addresses, URLs, networks and paths written?

Like `values`: every function takes a value as YAML gave it, and returns what it means or raises `BadValue`.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from sseproxy.config.values import BadValue, BadValues, boolean, describe, line, nearest, quote
from sseproxy.core.http.paths import UNSENT, normalized
from sseproxy.core.routes import Upstream

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What fits into ``sockaddr_un`` on Linux, without the closing NUL.
LONGEST_SOCKET_PATH = 107

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_LIKE_HOST = re.compile(r"(?!http)[\w.-]+(:\d+)?(/|\Z)")
_PATH = re.compile(r"/[!-~]*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_APP = re.compile(r"[a-z0-9._-]+(:[0-9]+)?", re.ASCII)
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
_SCHEMES = {"http": 80, "https": 443, "http+unix": 0}
_WILDCARDS = {"": (4, 6), "0.0.0.0": (4,), "::": (6,)}
_LOOPBACK = {"localhost": (4, 6), "127.0.0.1": (4,), "::1": (6,)}


@dataclass(frozen=True, slots=True)
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
    """``HOST:PORT``, ``[::1]:8080``, ``:8080`` (all interfaces), ``unix:/run/sseproxy.sock``, or `_unix_listener`."""
    if isinstance(value, Mapping):
        return _unix_listener({key: inner for key, inner in value.items() if inner is not None})
    if isinstance(value, int) and not isinstance(value, bool):
        raise BadValue(f"expected HOST:PORT, got {describe(value)}", f'"127.0.0.1:{value}" or ":{value}"')
    written = line(value)
    if written.startswith("unix:"):
        return Address(path=socket_path(written.removeprefix("unix:").removeprefix("//")))
    host, colon, port = written.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        hint = f"[{written}]:8080" if ":" in written else f"{written or '127.0.0.1'}:8080"
        if written.isdigit():
            hint = f"127.0.0.1:{written} or :{written}"
        raise BadValue(f"expected HOST:PORT, got {describe(value)}", f"such as {hint}")
    return Address(host=host_name(host) if host else "", port=_port(port, least=0))


def _unix_listener(value: Mapping[str, object]) -> Address:
    """``{unix: /run/sseproxy.sock, mode: "0660", group: www-data, trust: false}``."""
    found, wrong = {}, []
    if "unix" not in value:
        wrong.append(BadValue("names no socket", "unix: /run/sseproxy.sock"))
    for key, inner in value.items():
        try:
            found[key] = _unix_key(key)(inner)
        except BadValue as error:
            wrong.append(BadValue(error.message, error.hint, below=(key,), is_key=error.is_key))
    if wrong:
        raise BadValues(wrong)
    return Address(path=found.pop("unix"), **found)


def _unix_key(key: str) -> Callable[[object], Any]:
    if key not in _UNIX_KEYS:
        raise BadValue("unknown key", nearest(key, _UNIX_KEYS) or f"one of {', '.join(_UNIX_KEYS)}", is_key=True)
    return _UNIX_KEYS[key]


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


def _port(text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= 65535):
        raise BadValue(f"{quote(text)} is not a port between {least} and 65535")
    return int(text)


def upstream_url(value: object) -> Upstream:
    """``http``, ``https`` or ``http+unix`` with an optional base path.

    A unix socket is written ``http+unix:///run/app.sock``, or, where a base path follows, percent-encoded in
    the place of the host: ``http+unix://%2Frun%2Fapp.sock/v1``. Messages do not repeat a URL with a password.
    """
    written = line(value)
    scheme, mark, rest = written.partition("://")
    scheme = scheme.lower()
    if not mark:
        likely = f"did you mean http://{written}?" if _LIKE_HOST.match(written) else "such as http://127.0.0.1:9000"
        raise BadValue(f"expected a URL, got {describe(value)}", likely)
    if scheme not in _SCHEMES:
        raise BadValue(f"scheme {quote(scheme)} is not http, https or http+unix", nearest(scheme, _SCHEMES))
    _refuse_extras(rest)
    authority, slash, path = rest.partition("/")
    if scheme == "http+unix":
        return _unix_upstream(authority, slash + path)
    host, port = _split_authority(authority, default=_SCHEMES[scheme])
    return Upstream(scheme, host, port, base_path=_base_path(slash + path))


def _refuse_extras(rest: str) -> None:
    if "@" in rest.partition("/")[0]:
        raise BadValue("must not carry a user or password", "set Authorization in headers.request.set")
    if "?" in rest or "#" in rest:
        raise BadValue("must not carry a query or a fragment")


def _split_authority(authority: str, *, default: int) -> tuple[str, int]:
    if not authority:
        raise BadValue("names no host")
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, str(default)
    if ":" in host and not host.startswith("["):
        raise BadValue(f"{quote(authority)} is not HOST:PORT", "an IPv6 address goes into brackets")
    return host_name(host), _port(port, least=1)


def _unix_upstream(authority: str, path: str) -> Upstream:
    if not authority:
        return Upstream("http+unix", socket_path=socket_path(path))
    try:
        decoded = unquote_to_bytes(authority).decode()
    except UnicodeDecodeError:
        raise BadValue(f"the path of the unix socket is not UTF-8: {quote(authority)}") from None
    if "\0" in decoded:
        raise BadValue("must not contain NUL")
    return Upstream("http+unix", socket_path=socket_path(decoded), base_path=_base_path(path))


def _base_path(path: str) -> str:
    return url_path(path).rstrip("/") if path else ""


def url_path(value: object) -> str:
    """A path as it stands in a request line."""
    written = line(value)
    if not written.startswith("/"):
        raise BadValue(f"must begin with a slash, not {quote(written)}", f"/{written}" if written else "")
    if "?" in written or "#" in written:
        raise BadValue("must not carry a query or a fragment", "only the path is compared")
    if not _PATH.fullmatch(written):
        raise BadValue(f"{quote(written)} has characters that a request line cannot have", "percent-encode them")
    return written


def match_path(value: object) -> str:
    """A normalised path (RFC 3986 section 6.2.2): requests are compared in that form, so no other would ever match."""
    written = url_path(value)
    if "*" in written:
        before = written.partition("*")[0].rstrip("/") or "/"
        raise BadValue(f"wildcards are not supported: {quote(written)}", f"did you mean prefix: {before}?")
    _refuse_what_no_request_has(written)
    right = normalized(written)
    if written != right:
        message = f"is never matched: requests are compared in another form, not {quote(written)}"
        raise BadValue(message, f"did you mean {right}?")
    return written


def _refuse_what_no_request_has(path: str) -> None:
    refused = UNSENT.search(path)
    if refused is None:
        return
    encoded = UNSENT.sub(lambda found: f"%{ord(found[0]):02X}", path)
    before = path.partition("{")[0].rpartition("/")[0] or "/"
    hint = f"did you mean prefix: {before}, or {encoded}?" if "{" in path else f"did you mean {encoded}?"
    raise BadValue(f"is never matched: a request with {refused[0]} in its path is refused", hint)


def ticket_path(value: object) -> str:
    """A path with something to be put behind it; a slash at its end is left away."""
    found = match_path(value).rstrip("/")
    if not found:
        raise BadValue("cannot be the root: every path begins with it")
    return found


def origin(value: object) -> str:
    """A serialized origin (HTML section 7.1.1): scheme, host and port as browsers write them, ``null`` or ``*``."""
    written = line(value)
    if written in ("*", "null"):
        return written
    scheme, mark, rest = written.partition("://")
    if not mark:
        hint = f"did you mean https://{written}?" if _LIKE_HOST.match(written) else ""
        raise BadValue(f"expected an origin, got {describe(value)}", hint or "such as https://app.example")
    if "*" in written:
        raise BadValue("wildcards are not supported", "name each origin, or * alone for all of them")
    right = _serialized_origin(scheme.lower(), rest.partition("/")[0])
    if written != right:
        raise BadValue(f"browsers write this origin otherwise, got {describe(value)}", f"did you mean {right}?")
    return written


def _serialized_origin(scheme: str, authority: str) -> str:
    """RFC 6454 section 6.2: in lower case, and without the scheme's own port."""
    default = {"http": "80", "https": "443"}.get(scheme)
    if default is None:
        return _app_origin(scheme, authority.lower())
    if "@" in authority:
        raise BadValue("must not carry a user or password")
    host, port = _split_authority(authority, default=int(default))
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if str(port) == default else f"{scheme}://{shown}:{port}"


def _app_origin(scheme: str, authority: str) -> str:
    """Of an app or an extension, whose names we need not understand."""
    if not _SCHEME.fullmatch(scheme):
        raise BadValue(f"{quote(scheme)} is not a scheme", "such as https://app.example")
    if not _APP.fullmatch(authority):
        hint = "the origin of files is null" if scheme == "file" else ""
        raise BadValue(f"{quote(authority)} is not a host name", hint)
    return f"{scheme}://{authority}"


def match_host(value: object) -> str:
    """The host of a ``Host`` field: lower case, without port, an IPv6 address in brackets."""
    written = line(value)
    if "*" in written:
        raise BadValue("wildcards are not supported", "one route for each host")
    if ":" in written and not written.startswith("["):
        host, _, port = written.rpartition(":")
        if port.isdigit() and ":" not in host:
            raise BadValue(f"must not carry a port: {quote(written)}", host)
        written = f"[{written}]"
    if written.startswith("[") and not written.endswith("]"):
        raise BadValue(f"must not carry a port: {quote(written)}", written.partition("]")[0] + "]")
    host = host_name(written)
    return f"[{host}]" if ":" in host else host.rstrip(".")


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
