"""Which responses that are not quite HTTP are read all the same?

Those that browsers and nginx read, and that can mean one thing only. They are written anew on their way to the client,
so the next parser on the way sees none of it. Whatever two parsers could read in two ways is refused.

1. A line of the head may end with LF alone (RFC 9112 section 2.2).
2. Blanks may follow the size of a chunk, and stand anywhere in its extensions, if the first chunk has some (RFC 9112
   section 7.1.1).
3. A response may follow an interim one that says ``Connection: close``.
4. A length may be said twice if it is the same each time (RFC 9112 section 6.3, rule 5).
5. HTTP/1.2 and later are read as 1.1 (RFC 9110 section 2.5).

llhttp reads the first, the third, the fifth, and blanks behind a size. It refuses extensions with blanks; no client
needs them, so it does not get them. It refuses the fourth at its second number, whatever is behind it: hence the head
is kept until it is whole, and then read once more with one length in it.
"""

import re
from collections.abc import Sized
from enum import Enum

import httptools

from sseproxy.http1.messages import ResponseHead

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"[\r\n]*HTTP/1\.[0-9] 1(?!01)[0-9][0-9]")
_REPEATED = re.compile(rb"\ncontent-length:(?:[^\n]*,|(?:[^\n]*\n)+content-length)", re.IGNORECASE)
_LENGTH = re.compile(rb"(?<=\n)content-length:[ \t]*([0-9]+(?:[ \t]*,[ \t]*[0-9]+)*)[ \t]*\r?\n", re.IGNORECASE)
_FOLDED = re.compile(rb"\n[ \t]")

#: The line of a chunk's size up to its extensions; of one that is cut, the rest.
_SIZE = re.compile(rb"[0-9A-Fa-f]+[ \t]*")
_REST_OF_SIZE = re.compile(rb"[0-9A-Fa-f]*[ \t]*")

#: What extensions may hold. They end where they hold something else, and llhttp decides whether they may.
_EXTENSIONS = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

#: Versions that llhttp reads by itself.
_VERSIONS = ("0.9", "2.0")


class _Extensions(Enum):
    """What is known of the extensions of a response's chunks."""

    UNKNOWN = "the head is incomplete"
    ABSENT = "there are no chunks, or the first one has no extensions"
    POSSIBLE = "the first chunk is awaited"
    PRESENT = "some chunk had extensions"
    UNFINISHED = "the last read ended inside extensions"


class LenientLlhttp(httptools.HttpResponseParser):
    """llhttp for the responses of one request.

    owner: has its callbacks. pieces: to which the owner adds what llhttp finds of a body.
    """

    # llhttp does not say what a byte is to it. But a ``;`` that adds no piece of a body, behind what looks like a size,
    # begins extensions; or it stands in a trailer, and trailers are dropped too. So `feed` stops at each such ``;``,
    # looks whether llhttp has found a body, and passes over the extensions if not.
    #
    # To look costs several times as much as `feed_data`. So the first chunk decides: a server that sends extensions
    # sends them from there on.

    __slots__ = ("_extensions", "_pieces")

    def __init__(self, owner: object, pieces: Sized) -> None:
        super().__init__(owner)
        self.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_keep_alive=True,
            lenient_version=True,
        )
        self._pieces = pieces
        self._extensions = _Extensions.UNKNOWN

    @property
    def looks_for_extensions(self) -> bool:
        """True if bytes have to come by `feed`, and not by `feed_data`."""
        return self._extensions is not _Extensions.ABSENT

    def status(self) -> int:
        """Return the status of the head that has been read. Raises `ValueError` if it is not one of HTTP/1."""
        version, status = self.get_http_version(), self.get_status_code()
        if not version.startswith("1.") and version not in _VERSIONS:
            raise ValueError("an unknown version of HTTP")
        if status < 100:  # llhttp counts the digits only
            raise ValueError("a status below 100")
        return status

    def enter_body(self, head: ResponseHead) -> None:
        """Read the body. From here on a line ends with CR and LF: that of a chunk's size is framing."""
        is_chunked = head.has_body and head.length is None and not head.ends_with_connection
        self._extensions = _Extensions.POSSIBLE if is_chunked else _Extensions.ABSENT
        self.set_dangerous_leniencies(lenient_optional_cr_before_lf=False)

    def feed(self, data: bytes) -> None:
        """Read `data` as `feed_data` does, less the extensions of chunks."""
        if self._extensions is _Extensions.ABSENT:
            self.feed_data(data)
            return
        at = self._behind_extensions(data, 0) if self._extensions is _Extensions.UNFINISHED else 0
        while (begin := _find_extensions(data, at)) >= 0:
            self._feed_part(data, at, begin)
            before = len(self._pieces)
            at = begin + 1
            self._feed_part(data, begin, at)
            is_in_chunks = self._extensions in (_Extensions.POSSIBLE, _Extensions.PRESENT)
            if is_in_chunks and len(self._pieces) == before:
                self.feed_data(b"x")  # they have to have a name
                at = self._behind_extensions(data, at)
        self._feed_part(data, at, len(data))
        if len(self._pieces) and self._extensions is _Extensions.POSSIBLE:
            self._extensions = _Extensions.ABSENT

    def _behind_extensions(self, data: bytes, at: int) -> int:
        match = _EXTENSIONS.match(data, at)
        end = at if match is None else match.end()
        self._extensions = _Extensions.UNFINISHED if end == len(data) else _Extensions.PRESENT
        return end

    def _feed_part(self, data: bytes, at: int, end: int) -> None:
        if at == end:
            return
        try:
            self.feed_data(data[at:end])
        except httptools.HttpParserUpgrade as upgrade:
            raise httptools.HttpParserUpgrade(at + upgrade.args[0]) from None


def _find_extensions(data: bytes, at: int) -> int:
    """Return where the first ``;`` is from `at` on that may begin extensions, or -1. At most one in each line may."""
    found = data.find(b";", at)
    while found >= 0:
        line = data.rfind(b"\n", at, found) + 1
        if line and _SIZE.fullmatch(data, line, found):
            return found
        if at == line == 0 and _REST_OF_SIZE.fullmatch(data, 0, found):
            return found
        at = data.find(b"\n", found)
        found = data.find(b";", at) if at >= 0 else -1
    return -1


def with_one_length(received: bytes) -> bytes | None:
    """Return all that came of a response, from its first byte, with its length said once if it is said several times.

    Return it unchanged if that is not what is wrong with it, and ``None`` if only the rest of the head will tell.
    """
    begin = 0
    while (end := _END_OF_HEAD.search(received, begin)) and _INTERIM.match(received, begin):
        begin = end.end()
    if end is None:
        return None if _REPEATED.search(received, begin) else received
    head = received[begin : end.end()]
    lengths = [number.strip() for said in _LENGTH.findall(head) for number in said.split(b",")]
    if len(lengths) < 2 or len(set(lengths)) > 1 or _FOLDED.search(head):
        return received
    once: bytes = _LENGTH.sub(b"", head[: end.start() + 1 - begin]) + b"Content-Length: " + lengths[0] + b"\r\n\r\n"
    return received[:begin] + once + received[end.end() :]
