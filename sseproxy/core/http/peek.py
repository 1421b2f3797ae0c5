"""What does a request body say about the stream that it asks for? (see docs/requests.md)"""

from collections.abc import Collection

from sseproxy.core.http.json_members import MemberScanner, NoValue, Value

_NEVER_JSON = (b"multipart/", b"image/", b"audio/", b"video/", b"application/octet-stream", b"application/grpc")

#: Bytes of a body that are kept in place of being scanned: most bodies are short, and most are never asked about.
_SHORT = 4096


def may_be_json(media_type: bytes, coding: bytes = b"") -> bool:
    """True if a body may be JSON, whatever its type says. A body with a content coding is not looked into.

    ``curl -d`` calls everything a form, and a browser's ``fetch`` calls a string plain text.
    """
    return not media_type.strip().lower().startswith(_NEVER_JSON) and coding.strip().lower() in (b"", b"identity")


class BodyPeek:
    """The values of a few top-level members of a JSON body, which passes by in pieces.

    names: of the members. is_known: the body has passed, or cannot say more.
    A short body is scanned when a value is asked for; of a long one nothing is kept.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._scanner: MemberScanner | None = None
        self._short = b""
        self.is_known = False

    def value(self, name: str) -> Value:
        """Return the value of a member; `NoValue` where there is none, or none that is kept, or until it is known."""
        return self._scan().value(name)

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if self.is_known:
            return
        if self._scanner is None and len(self._short) + len(piece) <= _SHORT:
            self._short = self._short + piece if self._short else bytes(piece)
            return
        scanner = self._scan()
        scanner.feed(piece)
        self.is_known = scanner.is_known

    def end(self) -> None:
        """The body has passed."""
        self.is_known = True
        if self._scanner is not None:
            self._scanner.end()

    def _scan(self) -> MemberScanner:
        scanner = self._scanner
        if scanner is None:
            scanner = self._scanner = MemberScanner(self._names)
            short, self._short = self._short, b""
            scanner.feed(short)
            if self.is_known:
                scanner.end()
        return scanner


__all__ = ["BodyPeek", "NoValue", "Value", "may_be_json"]
