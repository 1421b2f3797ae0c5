"""What may a value say of Redis, its streams and its channels, and what does it mean?

Like `values`: every function takes a value as YAML gave it, and returns what it means or raises `BadValue`. Messages
never repeat a URL: it may hold a password.
"""

import re
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from sseproxy.config.values import BadValue, describe, line, quote
from sseproxy.core.journal.templates import BadTemplate, Template
from sseproxy.stores.redis.urls import RedisURL

_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_SHOWN = "redis://HOST:PORT/DB, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://"


def redis_url(value: object) -> str:
    """The URL of one Redis, as it is written."""
    if not isinstance(value, str):
        raise BadValue(f"expected a URL, got {describe(value)}", _SHOWN)
    written = line(value)
    try:
        RedisURL.parse(written)
    except ValueError as error:
        raise BadValue(str(error), _SHOWN) from None
    return written


def masked_url(url: str | None) -> str | None:
    """The same URL with asterisks in place of its password, fit to be shown."""
    if url is None or "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    login, _, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}{colon}***@{place}" if colon else f"{scheme}://***@{place}"


def shows_password(url: str) -> bool:
    """True if a password would go over a network in clear text."""
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("redis", "redis+sentinel", "redis+cluster") or "@" not in parts.netloc:
        return False
    login, _, hosts = parts.netloc.rpartition("@")
    return bool(login.strip(":")) and not all(map(_is_local, hosts.split(",")))


def _is_local(place: str) -> bool:
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    try:
        return ip_address(unquote(host)).is_loopback
    except ValueError:
        return host.lower() in ("", "localhost")


def key_prefix(value: object) -> str:
    """What the names of our own keys and channels begin with."""
    found = line(value)
    if not _PREFIX.fullmatch(found):
        raise BadValue(f"{quote(found)} is no prefix of keys", "at most 64 letters, digits and any of . _ : -")
    return found


def name_template(value: object) -> Template:
    """The name of a stream or a channel, with places for what is known of the client."""
    found = line(value)
    if not found:
        raise BadValue("must not be empty")
    try:
        return Template.parse(found)
    except BadTemplate as error:
        raise BadValue(str(error), "such as inbox:{auth:user}") from None
