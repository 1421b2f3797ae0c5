"""What is asked, and where: how do a URL and flags become a request?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from urllib.parse import quote, urlsplit

from sseproxy import __version__
from sseproxy.core.frozen import frozen

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: As a browser asks for an event stream, so that a hop which compresses does.
_FIELDS: Mapping[str, str] = {
    "Accept": "text/event-stream",
    "Accept-Encoding": "gzip, deflate",
    "Cache-Control": "no-cache",
    "User-Agent": f"sseproxy-probe/{__version__}",
}


class BadTarget(ValueError):
    """What was asked for cannot be asked; the text says why."""


@frozen
class Target:
    """One request, and where it goes. fields: the caller's own header fields, which may hold secrets."""

    host: str
    port: int
    tls: bool
    path: str
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    data: bytes | None = field(default=None, repr=False)
    checks_certificate: bool = True

    @property
    def name(self) -> str:
        """The URL without its query, which may hold a secret."""
        return f"{'https' if self.tls else 'http'}://{self._authority}{self.path.partition('?')[0]}"

    @property
    def request(self) -> bytes:
        """The request as it is sent. What the caller says of a field replaces what is said otherwise."""
        said: dict[str, str] = {"Host": self._authority, **_FIELDS}
        if self.data is not None:
            is_json = self.data.lstrip().startswith((b"{", b"["))
            said["Content-Type"] = "application/json" if is_json else "application/x-www-form-urlencoded"
            said["Content-Length"] = str(len(self.data))
        own = {name.lower() for name, _ in self.fields}
        pairs = [*((name, value) for name, value in said.items() if name.lower() not in own), *self.fields]
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + (self.data or b"")

    def with_field(self, name: str, value: str) -> "Target":
        """The same with one more header field."""
        return replace(self, fields=(*self.fields, (name, value)))

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def read_target(
    url: str, *, headers: Sequence[str] = (), method: str | None = None, data: str | None = None, insecure: bool = False
) -> Target:
    """Return what `url` and the flags mean. headers: each as ``Name: value``. Raises `BadTarget`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadTarget(f"this is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadTarget("expected a URL that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise BadTarget("a password in the URL is not sent: use --header 'Authorization: ...'")
    if method is not None and not _TOKEN.fullmatch(method):
        raise BadTarget("this is no request method")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        host=_ascii(parts.hostname),
        port=(443 if parts.scheme == "https" else 80) if port is None else port,
        tls=parts.scheme == "https",
        path=quote(path, safe="/?#[]@!$&'()*+,;=:%~-._"),
        method=(method or ("GET" if data is None else "POST")).upper(),
        fields=tuple(_field(header) for header in headers),
        data=None if data is None else data.encode("utf-8", "surrogateescape"),
        checks_certificate=not insecure,
    )


def _ascii(host: str) -> str:
    try:
        return host if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        raise BadTarget("this is no host name") from None


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    # The value stays out of the message: it may be a password.
    if not colon or not _TOKEN.fullmatch(name.strip()) or _CONTROLS.search(value):
        raise BadTarget("expected --header 'Name: value'")
    if name.strip().lower() in ("connection", "content-length", "transfer-encoding"):
        raise BadTarget(f"{name.strip()} is the probe's own")
    return name.strip(), value.strip()
