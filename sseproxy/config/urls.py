"""Where to forward, and what matches: how are URLs, paths, origins and hosts written?

Like `values`: every function takes a value as YAML gave it, and returns what it means or raises `BadValue`.
"""

import re
from urllib.parse import quote as quote_path
from urllib.parse import unquote_to_bytes

from sseproxy.config.addresses import bracketed, host_name, port_number, socket_path
from sseproxy.config.values import BadValue, describe, line, nearest, quote
from sseproxy.core.http.paths import UNSENT, normalized
from sseproxy.core.routes import Upstream

_LIKE_HOST = re.compile(r"(?!http)[\w.-]+(:\d+)?(/|\Z)")
_PATH = re.compile(r"/[!-~]*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_APP = re.compile(r"[a-z0-9._-]+(:[0-9]+)?", re.ASCII)
_SCHEMES = {"http": 80, "https": 443, "http+unix": 0}


def upstream_url(value: object) -> Upstream:
    """``http``, ``https`` or ``http+unix`` with an optional base path.

    A unix socket is written ``http+unix:///run/app.sock``, or, where a base path follows, percent-encoded in
    the place of the host: ``http+unix://%2Frun%2Fapp.sock/v1``. Messages do not repeat a URL with a password.
    """
    if isinstance(value, dict):
        raise BadValue(f"expected one URL, got {describe(value)}", "such as http://127.0.0.1:9000")
    if isinstance(value, list):
        raise BadValue(
            f"expected one URL, got {describe(value)}",
            "a route has one service; put a load balancer in front of several",
        )
    written = line(value)
    scheme, mark, rest = written.partition("://")
    scheme = scheme.lower()
    if not mark:
        near = written if _LIKE_HOST.match(written) else bracketed(written)
        likely = f"did you mean http://{near}?" if near else "such as http://127.0.0.1:9000"
        raise BadValue(f"expected a URL, got {describe(value)}", likely)
    if scheme not in _SCHEMES:
        raise BadValue(f"scheme {quote(scheme)} is not http, https or http+unix", nearest(scheme, _SCHEMES))
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise BadValue("must not carry a user or password", "set Authorization in headers.request.set")
    if "?" in rest or "#" in rest:
        raise BadValue("must not carry a query or a fragment")
    if scheme == "http+unix":
        return unix_upstream(authority, slash + path)
    host, port = _split_authority(authority, default=_SCHEMES[scheme])
    return Upstream(scheme, host, port, base_path=_base_path(slash + path))


def format_upstream(upstream: Upstream) -> str:
    """The URL that `upstream_url` reads as `upstream`."""
    authority = upstream.authority if upstream.socket_path is None else quote_path(upstream.socket_path, safe="")
    return f"{upstream.scheme}://{authority}{upstream.base_path}"


def _split_authority(authority: str, *, default: int) -> tuple[str, int]:
    if not authority:
        raise BadValue("names no host")
    host, colon, port = authority.rpartition(":")
    # The last colon of an IPv6 address without a port is inside the brackets.
    if not colon or port.endswith("]"):
        host, port = authority, str(default)
    if ":" in host and not host.startswith("["):
        near = bracketed(authority)
        hint = f"did you mean {near}?" if near else "an IPv6 address goes into brackets"
        raise BadValue(f"{quote(authority)} is not HOST:PORT", hint)
    return host_name(host), port_number(port, least=1)


def unix_upstream(authority: str, path: str) -> Upstream:
    """The upstream behind a unix socket. authority: its path, percent-encoded; empty where `path` is that path."""
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
    if path.endswith("/*"):
        raise BadValue("wildcards are not supported: /*", "leave it out: the path of the request comes there by itself")
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
        before = written.partition("*")[0].rstrip("/.") or "/"
        raise BadValue(f"wildcards are not supported: {quote(written)}", f"did you mean prefix: {before}?")
    refused = UNSENT.search(written)
    if refused is not None:
        encoded = UNSENT.sub(lambda found: f"%{ord(found[0]):02X}", written)
        # A brace is likely to be a template of another proxy, which a prefix comes nearest to.
        before = written.partition("{")[0].rpartition("/")[0] or "/"
        hint = f"did you mean prefix: {before}, or {encoded}?" if "{" in written else f"did you mean {encoded}?"
        raise BadValue(f"is never matched: a request with {refused[0]} in its path is refused", hint)
    # Normalising it here would be kinder, and would hide that the file says something else than the log.
    right = normalized(written)
    if written != right:
        message = f"is never matched: requests are compared in another form, not {quote(written)}"
        raise BadValue(message, f"did you mean {right}?")
    return written


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
    # Browsers compare bytes (Fetch section 3.2.5): a spelling that no browser sends would never be let in.
    right = serialized_origin(scheme.lower(), rest.partition("/")[0])
    if written != right:
        raise BadValue(f"browsers write this origin otherwise, got {describe(value)}", f"did you mean {right}?")
    return written


def serialized_origin(scheme: str, authority: str) -> str:
    """RFC 6454 section 6.2: in lower case, and without the scheme's own port."""
    default = {"http": "80", "https": "443"}.get(scheme)
    if default is None:
        return app_origin(scheme, authority.lower())
    if "@" in authority:
        raise BadValue("must not carry a user or password")
    host, port = _split_authority(authority, default=int(default))
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if str(port) == default else f"{scheme}://{shown}:{port}"


def app_origin(scheme: str, authority: str) -> str:
    """The origin of an app or an extension: its name means something to its own platform only."""
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
