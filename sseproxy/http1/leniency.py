"""Which responses that are not quite HTTP are read all the same? (contract section 2)

Those that browsers and nginx read, and that can mean one thing only. They are written anew on their way to the client,
so the next parser on the way sees none of it. Whatever two parsers could read in two ways is refused.

1. A line of the head may end with LF alone (RFC 9112 section 2.2).
2. Blanks may follow the size of a chunk (RFC 9112 section 7.1.1 has them before an extension).
3. A response may follow an interim one that says ``Connection: close``.
4. A length may be said twice if it is the same each time (RFC 9112 section 6.3, rule 5).

llhttp reads the first three. It refuses the fourth at its second number, whatever is behind it: hence the head is kept
until it is whole, and then read once more with one length in it.
"""

import re

import httptools

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"[\r\n]*HTTP/1\.[0-9] 1(?!01)[0-9][0-9]")
_REPEATED = re.compile(rb"\ncontent-length:(?:[^\n]*,|(?:[^\n]*\n)+content-length)", re.IGNORECASE)
_LENGTH = re.compile(rb"(?<=\n)content-length:[ \t]*([0-9]+(?:[ \t]*,[ \t]*[0-9]+)*)[ \t]*\r?\n", re.IGNORECASE)
_FOLDED = re.compile(rb"\n[ \t]")


def response_parser(owner: object) -> httptools.HttpResponseParser:
    """Return llhttp for the responses of one request; `owner` has its callbacks."""
    parser = httptools.HttpResponseParser(owner)
    parser.set_dangerous_leniencies(
        lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True, lenient_keep_alive=True
    )
    return parser


def make_strict(parser: httptools.HttpResponseParser) -> None:
    """The head is whole. From here on a line ends with CR and LF: that of a chunk's size is framing."""
    parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=False)


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
