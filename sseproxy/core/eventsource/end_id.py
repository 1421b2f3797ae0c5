"""How does an `EventSource` learn that a stream has ended for good, and how is it recognised when it reconnects?

At a clean end the client gets a block with nothing but an ``id``, which names this end (with an event around it where a
client drops an id without data). Its reconnect brings the id back in ``Last-Event-ID`` (WHATWG HTML section 9.2.3) and
is answered 204, upon which the client stops reconnecting (section 9.2.2).
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import field
from hashlib import sha256
from hmac import compare_digest, digest

from sseproxy.core.frozen import frozen
from sseproxy.core.http.fields import Headers

#: Bytes of a nonce; the same end never has the same id twice.
NONCE = 8

#: Seconds for which the id of an end is known again.
VALID = 3600.0

_TIME = 6  # bytes of the seconds since 1970
_SIGNATURE = 16  # bytes of the HMAC that are kept
_PREFIX = b"sseproxy-end-"
_ID = re.compile(re.escape(_PREFIX) + rb"[A-Za-z0-9_-]{40}")  # nonce, time, signature in base64url, without padding
_END_ID = re.compile(rb"[ \t]*" + re.escape(_PREFIX) + rb"[A-Za-z0-9_-]*[ \t]*")


@frozen
class EndScope:
    """The request whose stream has ended. The id of its end ends no other request, and none of another client.

    route: its name. login: all that the request was let in by. ticket: where it was opened, if it is that of a ticket.
    """

    route: str
    method: str
    host: bytes
    target: str
    login: tuple[bytes, ...] = field(default=(), repr=False)
    ticket: str = field(default="", repr=False)


def sign(key: bytes, request: EndScope, *, nonce: bytes, now: float) -> str:
    """Return the id of an end. key: secret, of any length. nonce: `NONCE` random bytes. now: seconds since 1970."""
    if len(nonce) != NONCE:
        raise ValueError(f"a nonce has {NONCE} bytes, not {len(nonce)}")
    made = nonce + int(now).to_bytes(_TIME, "big")
    return (_PREFIX + urlsafe_b64encode(made + _signature(key, request, made))).decode()


def verify(key: bytes, name: bytes, request: EndScope, *, now: float) -> bool:
    """True if `name` was made by `sign` with the same key, for the same request, within `VALID` seconds of `now`."""
    if not _ID.fullmatch(name):
        return False
    decoded = urlsafe_b64decode(name.removeprefix(_PREFIX))
    made, signature = decoded[:-_SIGNATURE], decoded[-_SIGNATURE:]
    is_true = compare_digest(signature, _signature(key, request, made))
    return is_true and abs(now - int.from_bytes(made[NONCE:], "big")) <= VALID


def without_ends(headers: Headers) -> Headers:
    """Return `headers` without ids of ends in ``Last-Event-ID``, valid or not: they mean nothing to a service."""
    return [pair for pair in headers if pair[0].lower() != b"last-event-id" or not _END_ID.fullmatch(pair[1])]


def _signature(key: bytes, request: EndScope, made: bytes) -> bytes:
    target, ticket = (text.encode("utf-8", "surrogateescape") for text in (request.target, request.ticket))
    names = (request.route.encode(), request.method.encode(), request.host.lower())
    parts = (b"end", made, *names, target, ticket, *request.login)
    # With its length before it no part can be moved into the next one.
    message = b"".join([len(part).to_bytes(8, "big") + part for part in parts])
    return digest(key, message, sha256)[:_SIGNATURE]
