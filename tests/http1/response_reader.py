"""What does the parser find in the bytes of a response, however they are cut?"""

from collections.abc import Iterator

from sseproxy.core.errors import OriginError
from sseproxy.core.http.fields import Headers
from sseproxy.http1.messages import ResponseHead
from sseproxy.http1.responses import Progress, ResponseParser


class Reader:
    """Reads one response as a connection does. error: what was wrong with it, behind what was valid."""

    def __init__(self, *, to_head: bool = False) -> None:
        self.parser = ResponseParser(to_head=to_head)
        self.head: ResponseHead | None = None
        self.content = b""
        self.error: OriginError | None = None

    def feed(self, *pieces: bytes) -> "Reader":
        for piece in pieces:
            if self.error is None and self.parser.progress in (Progress.HEAD, Progress.BODY):
                self._feed(piece)
        return self

    def _feed(self, piece: bytes) -> None:
        try:
            self.parser.feed(piece)
        except OriginError as error:
            self.error = error
        if self.head is None and self.parser.head is not None:
            self.head = self.parser.take_head()
        self.content += self.parser.take_body()

    @property
    def has_ended(self) -> bool:
        return self.parser.progress is Progress.COMPLETE

    @property
    def fields(self) -> Headers:
        assert self.head is not None, self.error
        return self.head.headers

    @property
    def may_be_kept(self) -> bool:
        return self.has_ended and self.error is None and self.parser.keeps_connection


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two at every place."""
    yield [data]
    yield [bytes([byte]) for byte in data]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
