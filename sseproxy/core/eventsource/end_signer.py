"""Who names the ends of streams, so that a client which comes back with such a name is answered 204?

The proxy signs for its routes, a middleware for its app: both by this signer, with the rules of `end_id`.
"""

from collections.abc import Callable

from sseproxy.core.eventsource.end_id import NONCE, EndScope, sign, verify
from sseproxy.core.stream.end_message import EndMessage

#: Bytes of a key that is made up.
KEY = 32


class EndSigner:
    """Names ends, and recognises these names. Where a method is given a `secret`, that takes the place of the key.

    key: secret, and the same in all processes that answer each other's reconnects. clock: seconds since 1970.
    random: makes as many unguessable bytes as it is asked for.
    """

    def __init__(self, key: bytes, *, clock: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self._key = key
        self._clock = clock
        self._random = random

    def message(
        self,
        scope: EndScope,
        *,
        event: tuple[str, str] | None = None,
        id_has_event: bool,
        secret: str = "",
    ) -> EndMessage:
        """Return what ends the reconnecting of the client of `scope`. event, id_has_event: as in `EndMessage`."""
        key = secret.encode() or self._key
        name = sign(key, scope, nonce=self._random(NONCE), now=self._clock())
        return EndMessage(event, name, id_has_event)

    def recognises(self, last_event_id: bytes, scope: EndScope, *, secret: str = "") -> bool:
        """True if `last_event_id`, as it came in the field, names an end of `scope` that is not too old."""
        key = secret.encode() or self._key
        return verify(key, last_event_id.strip(b" \t"), scope, now=self._clock())
