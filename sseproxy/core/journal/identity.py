"""Which stream does a request mean, and who asks for it? (contract section 6, J2 and J10)

Route, login and key become digests: a store and a snapshot can hold those, and hold no cookie. A run has a name
besides, which leads to it.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from sseproxy.core.journal.positions import OLDEST, Mark, read_mark
from sseproxy.core.journal.rules import JournalPolicy, Part, PartKind

#: All values that a request has for a part. Where it has none, or not exactly one, the part counts as missing.
Lookup = Callable[[Part], Sequence[bytes]]

#: Random bytes of the name of an answer, which may be all that leads to it, and of a feed.
ANSWER_BYTES = 16
FEED_BYTES = 8

#: Bytes of a digest.
DIGEST = 32

_NAME = re.compile(rb"[A-Za-z0-9_-]{11}|[A-Za-z0-9_-]{22}")
#: Tells these digests from any others that are made with the same secret; 16 bytes at most.
_PURPOSE = b"sseproxy journal"


def read_parts(parts: Iterable[Part], lookup: Lookup) -> tuple[bytes, ...] | None:
    """Return the value of each part that has one; ``None`` if one is missing, empty, or there twice.

    Of two values none is taken: a service behind might take the other.
    """
    values = []
    for part in parts:
        if part.kind is PartKind.RUN:  # nothing of the request names it
            continue
        found = lookup(part)
        if len(found) != 1 or not found[0]:
            return None
        values.append(found[0])
    return tuple(values)


def encoded(groups: Iterable[Sequence[bytes]]) -> bytes:
    """Return groups of parts as one text, which no other groups are written as."""
    return b"".join(
        len(group).to_bytes(4, "big") + b"".join(len(part).to_bytes(8, "big") + part for part in group)
        for group in groups
    )


class Identities:
    """Digests of who asks for what. secret: of any length; the same wherever the digests have to be."""

    # Hazard: a route that a reload has changed keeps its name, and a snapshot the digests of its runs. So a digest is
    # of the names of the parts, too: `query:user` never finds what was kept for `cookie:user`.

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(secret, digest_size=blake2b.MAX_KEY_SIZE, person=_PURPOSE).digest()

    def scope(self, route: str, policy: JournalPolicy, login: Sequence[bytes], key: Sequence[bytes]) -> bytes:
        """Return the digest of one stream of one login. login, key: from `read_parts`."""
        return self._digest(
            (b"stream", route.encode(), policy.kind.encode()), _names(policy.login), login, _names(policy.key), key
        )

    def login(self, route: str, policy: JournalPolicy, login: Sequence[bytes]) -> bytes:
        """Return the digest of a login, which is all that is asked for where the name of a run is known."""
        return self._digest((b"login", route.encode()), _names(policy.login), login)

    def address(self, route: str, client: str) -> bytes:
        """Return the digest of an address, for clients without a login."""
        return self._digest((b"address", route.encode()), (client.encode(),))

    def _digest(self, *groups: Sequence[bytes]) -> bytes:
        return blake2b(encoded(groups), digest_size=DIGEST, key=self._key, person=_PURPOSE).digest()


def run_name(random: bytes) -> bytes:
    """Return the name that `ANSWER_BYTES` or `FEED_BYTES` of randomness make (base64url, RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(random).rstrip(b"=")


def is_run_name(text: bytes) -> bool:
    """True if a run, an answer or a feed, may be called `text`."""
    return _NAME.fullmatch(text) is not None


def read_run_position(text: bytes) -> tuple[bytes, Mark] | None:
    """Return the name of the run and the mark in it; ``None`` if `text` is no position in a run."""
    name, _, written = text.partition(b".")
    if not is_run_name(name):
        return None
    mark = read_mark(written)
    return None if mark is None else (name, mark)


def is_ours(position: bytes) -> bool:
    """True if what a client names as its position is for sseproxy alone: no upstream knows it."""
    return position == OLDEST or read_run_position(position) is not None


def _names(parts: Iterable[Part]) -> tuple[bytes, ...]:
    return tuple(str(part).encode() for part in parts)
