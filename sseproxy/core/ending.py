"""How does an `EventSource` learn that a stream has ended for good, and how do we know it again? (contract section 5)

At a clean end the client gets a block with nothing but an ``id``, which names this end. Its reconnect brings the id
back in ``Last-Event-ID`` (WHATWG HTML section 9.2.3) and is answered 204, upon which it gives up (section 9.2.2).
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest, digest

from sseproxy.core.events import LF, event

#: Bytes of a nonce; the same end never has the same id twice.
NONCE = 8

_SIGNATURE = 16  # bytes of the HMAC that are kept
_PREFIX = b"sseproxy-end-"
_ID = re.compile(re.escape(_PREFIX) + rb"[A-Za-z0-9_-]{32}")  # nonce and signature in base64url, without padding


def sign(key: bytes, *, route: str, target: str, nonce: bytes) -> str:
    """The id of an end of `target` on a route. key: secret, of any length. nonce: `NONCE` random bytes."""
    if len(nonce) != NONCE:
        raise ValueError(f"a nonce has {NONCE} bytes, not {len(nonce)}")
    signature = _signature(key, route, target, nonce)
    return (_PREFIX + urlsafe_b64encode(nonce + signature)).decode()


def verify(key: bytes, name: bytes, *, route: str, target: str) -> bool:
    """Whether `name` was made by `sign` with the same key, for the same route and target."""
    if not _ID.fullmatch(name):
        return False
    made = urlsafe_b64decode(name.removeprefix(_PREFIX))
    return compare_digest(made[NONCE:], _signature(key, route, target, made[:NONCE]))


def _signature(key: bytes, route: str, target: str, nonce: bytes) -> bytes:
    # No route's name and no target holds a NUL, and the nonce has a fixed length: the parts cannot be moved.
    parts = (b"end", route.encode(), target.encode("utf-8", "surrogateescape"), nonce)
    return digest(key, b"\0".join(parts), sha256)[:_SIGNATURE]


@dataclass(frozen=True, slots=True)
class Farewell:
    """The last words to one client. event: name and data. id: of this end."""

    event: tuple[str, str] | None = None
    id: str | None = None

    def write(self, *, eol: bytes = LF) -> bytes:
        """The bytes, for an event boundary. The event comes first: its own last event id is the upstream's."""
        told = b"" if self.event is None else event(self.event[1], name=self.event[0], eol=eol)
        return told if self.id is None else told + b"id: " + self.id.encode() + eol + eol
