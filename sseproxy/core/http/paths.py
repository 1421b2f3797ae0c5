"""Which path does a request target name, in whatever spelling? (RFC 3986 sections 5.2.4 and 6.2.2)

A *normalised* path is compared and nothing else: the target itself goes on as it came.
"""

import re

_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_PLAIN = {f"%{ord(character):02X}": character for character in _UNRESERVED}
_SLASHES = re.compile("/{2,}")

#: A dot segment in any spelling that a service may read as one: encoded, with a slash that is encoded or a backslash,
#: or with parameters, which Tomcat takes off first.
_DOTS = re.compile(r"(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\;]|%2f|%5c)", re.IGNORECASE)

#: What no path of a request has. RFC 3986 allows none of ``"<>\^`{|}``, and browsers encode all of them (URL standard,
#: the percent-encode sets) but ``^``, which older ones leave alone, and ``|``. nginx passes all of them on; pages and
#: logs of upstreams have been attacked with ``"<>``.
UNSENT = re.compile(r"[\"<>\\`{}]")


#: Not ``None`` for a path that may not be normalised.
unusual = re.compile(r"%|//|/\.").search


def normalized(path: str) -> str:
    """`path` with unreserved characters decoded, empty segments merged, and dot segments removed; ``%2F`` stays.

    Servers that merge do it before ``..`` takes a segment away: to them ``/x//../admin`` is ``/admin``.
    """
    if "%" in path:
        path = decoded(path)
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return _without_dots(path) if "/." in path else path


def decoded(text: str) -> str:
    """`text` with unreserved characters decoded, and the digits of all other escapes in upper case."""
    return _ESCAPE.sub(lambda escape: _PLAIN.get(escape[0].upper(), escape[0].upper()), text)


def escaped(segment: bytes) -> bytes:
    """Return a path segment with all but unreserved characters escaped (RFC 3986 section 2.1)."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in segment).encode()


def has_dots(path: str) -> bool:
    """True if a service may read a segment of the raw `path` as ``.`` or ``..``, and so leave what is before it."""
    return _DOTS.search(path) is not None


def has_prefix(path: str, prefix: str) -> bool:
    """Whether `prefix` is made of the first whole segments of `path`; both are normalised."""
    stem = prefix.rstrip("/")
    return not stem or path == stem or path.startswith(stem + "/")


def behind_prefix(path: str, prefix: str) -> str | None:
    """What follows the segments of the normalised `prefix` in the raw `path`, byte for byte; ``None``: it has others.

    `path` must not have dot segments. What is returned is empty, or begins with a slash.
    """
    rest = path
    for wanted in prefix.strip("/").split("/") if prefix.strip("/") else ():
        segment, slash, behind = rest.lstrip("/").partition("/")
        if not rest.startswith("/") or decoded(segment) != wanted:
            return None
        rest = slash + behind
    return rest


def _without_dots(path: str) -> str:
    root, *segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join([root, *kept]) or "/"
