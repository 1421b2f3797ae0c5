"""What may a value say of Redis, its streams and its channels, and what does it mean?

Like `values`: every function takes a value as YAML gave it, and returns what it means or raises `BadValue`. Messages
never repeat a URL: it may hold a password.
"""

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from sseproxy.config.values import BadValue, describe, line, quote
from sseproxy.core.journal.templates import BadTemplate, Template
from sseproxy.core.store import REDIS_SCHEMES, SCHEMES, scheme_of

if TYPE_CHECKING:
    from sseproxy.stores.redis.urls import RedisURL

_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_SHOWN = "redis://HOST:PORT/DB, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://"


def parsed(written: str) -> "RedisURL":
    """The parts of a URL of Redis. Raises `ValueError`."""
    from sseproxy.stores.redis.urls import RedisURL  # noqa: PLC0415 - only where the file has such a URL

    return RedisURL.parse(written)


def redis_url(value: object) -> str:
    """The URL of one Redis, as it is written."""
    if not isinstance(value, str):
        raise BadValue(f"expected a URL, got {describe(value)}", _SHOWN)
    written = line(value)
    try:
        parsed(written)
    except ValueError as error:
        raise BadValue(str(error), _SHOWN) from None
    return written


def store_url(value: object) -> str:
    """The URL of a store, as it is written. Each store reads its own URL when it is opened; a Redis is read here."""
    if not isinstance(value, str) or scheme_of(value) in REDIS_SCHEMES:
        return redis_url(value)
    if scheme_of(value) not in SCHEMES:
        raise BadValue(f"it must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}", _SHOWN)
    return line(value)


def is_redis(url: str | None) -> bool:
    """True if routes can be served from there."""
    return url is not None and scheme_of(url) in REDIS_SCHEMES


def masked_url(written: str | None) -> str | None:
    """A URL that is fit to be shown: without what is secret of it, and with asterisks where there was a password."""
    if written is None:
        return None
    if not is_redis(written):
        return re.sub(r"(?<=://)[^/@]*@", "***@", written.partition("?")[0])
    url = parsed(written)
    scheme, mark, place = url.place.partition("://")
    return f"{scheme}{mark}{'***@' if url.password else ''}{place}"


def shows_password(written: str) -> bool:
    """True if a password goes over a network in clear text, as far as is known of the store at the other end."""
    if not is_redis(written):
        return False
    url = parsed(written)
    return bool(url.password) and not url.is_tls and not all(_is_local(host) for host, _ in url.hosts)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


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
