"""Does a request body ask for a stream? (contract S8)"""

import json
from collections.abc import Callable

from sseproxy.core.limits import BODY_PEEK


class BodyPeek:
    """Looks whether a JSON body that passes by says ``"stream": true``; keeps at most `BODY_PEEK` bytes of it.

    declares_stream: ``None`` until the body has passed, or is too long; then `on_known` is called.
    """

    def __init__(self, on_known: Callable[[], None]) -> None:
        self.declares_stream: bool | None = None
        self._on_known = on_known
        self._seen = bytearray()

    def feed(self, piece: bytes) -> None:
        if self.declares_stream is None:
            self._seen += piece
            if len(self._seen) > BODY_PEEK:
                self._decide(declares=False)

    def end(self) -> None:
        if self.declares_stream is None:
            self._decide(declares=_says_stream(bytes(self._seen)))

    def _decide(self, *, declares: bool) -> None:
        self._seen.clear()
        self.declares_stream = declares
        self._on_known()


def _says_stream(body: bytes) -> bool:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and parsed.get("stream") is True
