"""Does a request body ask for a stream? (contract S8)"""

import json
from collections.abc import Callable, Iterable

from sseproxy.core.headers import get
from sseproxy.core.limits import BODY_PEEK

_WHITE = b" \t\r\n"
_NEVER_JSON = (b"multipart/", b"image/", b"audio/", b"video/", b"application/octet-stream", b"application/grpc")


def may_be_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether it is worth looking for ``"stream": true`` in a request body: it may be JSON, whatever its type says.

    ``curl -d`` calls everything a form, and a browser's ``fetch`` calls a string plain text.
    """
    media = (get(headers, b"content-type") or b"").partition(b";")[0].strip().lower()
    return not media.startswith(_NEVER_JSON)


class BodyPeek:
    """Looks whether a JSON body that passes by says ``"stream": true``; keeps at most `BODY_PEEK` bytes of it.

    Whatever its media type says: a client that posts JSON by hand often says something else. on_known is called
    when the body has passed, or cannot be what is looked for; parsed is it only when somebody asks.
    """

    def __init__(self, on_known: Callable[[], None]) -> None:
        self.is_known = False
        self._on_known = on_known
        self._seen = bytearray()
        self._declares: bool | None = None

    @property
    def declares_stream(self) -> bool | None:
        """Whether a stream is asked for; ``None`` until that is known."""
        if self._declares is None and self.is_known:
            self._declares = _says_stream(bytes(self._seen))
            self._seen.clear()
        return self._declares

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if self.is_known:
            return
        self._seen += piece
        if not self._may_be_object() or len(self._seen) > BODY_PEEK:
            self._seen.clear()
            self._declares = False
            self._know()

    def end(self) -> None:
        """The body has passed."""
        if not self.is_known:
            self._know()

    def forget(self) -> None:
        """Nobody wants to know any more."""
        self._seen.clear()
        self._declares = False
        self.is_known = True

    def _may_be_object(self) -> bool:
        if self._seen.startswith(b"{"):
            return True
        return bytes(self._seen[:64].lstrip(_WHITE)[:1] or self._seen.lstrip(_WHITE)[:1]) in (b"{", b"")

    def _know(self) -> None:
        self.is_known = True
        self._on_known()


def _says_stream(body: bytes) -> bool:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and parsed.get("stream") is True
