"""Which values do a few top-level members of a JSON body have?

The bytes are looked at while they pass by, and nothing but the wanted values is kept.
"""

import json
import re
from codecs import BOM_UTF8 as BOM
from collections.abc import Callable, Collection
from enum import Enum
from functools import lru_cache
from typing import Final, TypeAlias

#: Bytes of a wanted value, as it is written in the body, that are kept; a longer one is `NoValue.OTHER`.
LONGEST_VALUE: Final = 256

#: Steps that are not among the fast ones: so many for each body, and one more for each piece and for so many bytes. A
#: body that takes more, which only one that is made for it does, counts as no object.
_STEPS: Final = 20_000
_BYTES_A_STEP: Final = 8

#: The limit of a string that is skipped whatever its length.
_NONE_OF_IT = -1

_QUOTE, _OPEN_BRACES, _CLOSE_BRACE = b'"', (b"{", b"["), b"}"
_BACKSLASH_BYTE, _QUOTE_BYTE = 0x5C, 0x22

_BLANKS = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb'[^ \t\r\n,:"\[\]{}]*+')

# Up to and including the next bracket, past strings that are not long; or the quote of a string that is, or is cut off.
# The numbers of repetitions bound the memory that the match takes.
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]{0,128}+(?:\\.[^"\\]{0,128}+){0,32}"){0,16}["\[\]{}]')

_PLAIN_KEY = re.compile(rb'%b"([^"\\]{0,256}+)"%b:' % (_BLANKS.pattern, _BLANKS.pattern))
_PLAIN_SCALAR = rb"(?:true|false|null|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)"


class NoValue(Enum):
    """Why a member has no value here.

    ABSENT: the body is no object, or has no such member. OTHER: it has one with a value that is not kept.
    """

    ABSENT = "absent"
    OTHER = "other"


Value: TypeAlias = str | int | float | bool | NoValue | None


class MemberScanner:
    """Find the values of a few top-level members of a JSON object while its bytes pass by, in bounded memory.

    is_known: the top-level object has ended, the body has ended, or it is no JSON object. is_object: the whole
    top-level object was seen, and its top level is well-formed; what is nested in it and strings that are not wanted
    are not looked into. has_repeats: a wanted member is there twice.

    The body is UTF-8; a byte order mark may precede it. A body in UTF-16 or UTF-32 is no object.
    """

    # Strategy. The top level is read token by token: key, colon, value, comma. Everything else is skipped as fast as
    # the standard library can: plain unwanted members and the insides of objects and arrays by a regular expression,
    # long strings by `bytes.find`.
    #
    # 1. The answer is a function of the body alone: it does not depend on where the body was cut into pieces. So the
    #    fast ways accept no member that the slow ways refuse.
    # 2. Each byte is looked at a bounded number of times, whatever the pieces. A regular expression that fails has
    #    looked at no more than the token that is consumed next, and none is ever searched for: at each byte of a long
    #    run a search would begin anew.
    # 3. Between pieces, at most one key or one value of bounded length is kept.
    #
    # Hazards: a body of blanks, of backslashes, of quotes or of opening brackets, each also one byte at a time; a body
    # that is nested a million deep (only a count is kept, so ``[}`` passes for a pair); a picture of many megabytes in
    # a string.

    __slots__ = (
        "_depth",
        "_is_escaped",
        "_is_long",
        "_kept",
        "_key_limit",
        "_limit",
        "_mark",
        "_name",
        "_names",
        "_plain_members",
        "_step",
        "_steps_left",
        "_then",
        "_values",
        "has_repeats",
        "is_known",
        "is_object",
    )

    def __init__(self, names: Collection[str]) -> None:
        self._names = {name.encode(): name for name in names}
        self._plain_members = _plain_members(frozenset(self._names))
        # A key takes six bytes at most for each UTF-16 code unit, as in ``\\u0073``.
        self._key_limit = max((3 * len(name.encode("utf-16-le")) for name in names), default=0)
        self.is_known = False
        self.is_object = self.has_repeats = False
        self._values: dict[str, Value] = {}
        # What reads the next byte, as a plain function: a bound method would refer to this object from within.
        self._step: Callable[[MemberScanner, bytes, int], int] = MemberScanner._read_mark
        self._steps_left: float = _STEPS
        self._mark = 0  # bytes of the byte order mark that were seen
        self._name: str | None = None  # of the member that is being read, if it is wanted
        self._depth = 0  # brackets that are open inside the top level
        # The key, string or scalar that is being read.
        self._then: Callable[[MemberScanner], None] = MemberScanner._end_key  # when the string has ended
        self._kept = bytearray()
        self._limit = 0
        self._is_long = False  # longer than the limit: not kept
        self._is_escaped = False  # the next byte follows a backslash

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        at, size = 0, len(piece)
        self._steps_left += size / _BYTES_A_STEP + 1
        while at < size and not self.is_known:
            at = self._step(self, piece, at)
            self._count_step()

    def end(self) -> None:
        """The body has ended; an object that is not complete is none."""
        self.is_known = True

    def value(self, name: str) -> Value:
        """Return the value of a wanted member, of duplicate keys the last one; absent until the object has ended."""
        return self._values.get(name, NoValue.ABSENT) if self.is_object else NoValue.ABSENT

    # The top level. Each of these looks at the bytes from `at` on, and returns the position of the next one to read.

    def _read_mark(self, piece: bytes, at: int) -> int:
        if piece[at] == BOM[self._mark]:
            self._mark += 1
            if self._mark == len(BOM):
                self._step = MemberScanner._read_start
            return at + 1
        if self._mark:
            self._know()
        self._step = MemberScanner._read_start
        return at

    def _read_start(self, piece: bytes, at: int) -> int:
        token, at = _next_token(piece, at)
        if token == b"{":
            self._step = MemberScanner._read_first_key
        elif token:
            self._know()
        return at

    def _read_first_key(self, piece: bytes, at: int) -> int:
        token, after = _next_token(piece, at)
        if token == _CLOSE_BRACE:
            self._complete()
        elif token:
            self._step = MemberScanner._read_key
            return after - 1
        return after

    def _read_key(self, piece: bytes, at: int) -> int:
        at = _end_of(self._plain_members, piece, at)
        if found := _PLAIN_KEY.match(piece, at):
            self._name = self._names.get(found[1])
            self._step = MemberScanner._read_value
            return found.end()
        token, at = _next_token(piece, at)
        if token == _QUOTE:
            self._begin_string(self._key_limit, MemberScanner._end_key)
        elif token:
            self._know()
        return at

    def _end_key(self) -> None:
        self._name = None
        self._step = MemberScanner._read_colon
        if not self._is_long:
            key = bytes(self._kept)
            if _BACKSLASH_BYTE in key:
                key = self._meaning(key).encode(errors="surrogatepass")
            self._name = self._names.get(key)

    def _read_colon(self, piece: bytes, at: int) -> int:
        token, at = _next_token(piece, at)
        if token == b":":
            self._step = MemberScanner._read_value
        elif token:
            self._know()
        return at

    def _read_value(self, piece: bytes, at: int) -> int:
        token, after = _next_token(piece, at)
        if token == _QUOTE:
            self._begin_string(_NONE_OF_IT if self._name is None else LONGEST_VALUE, MemberScanner._end_string)
        elif token in _OPEN_BRACES:
            self._depth = 1
            self._step = MemberScanner._read_nested
        elif token:
            self._begin(LONGEST_VALUE)
            self._step = MemberScanner._read_scalar
            return after - 1
        return after

    def _end_string(self) -> None:
        self._end_value(NoValue.OTHER if self._is_long else self._meaning(bytes(self._kept)))

    def _read_scalar(self, piece: bytes, at: int) -> int:
        stop = _end_of(_SCALAR, piece, at)
        self._keep(piece, at, stop)
        if stop < len(piece):
            try:
                self._end_value(NoValue.OTHER if self._is_long else json.loads(self._kept.decode("ascii")))
            except ValueError:
                self._know()
        return stop

    def _end_value(self, value: Value) -> None:
        if self._name is not None:
            self.has_repeats = self.has_repeats or self._name in self._values
            self._values[self._name] = value
        self._step = MemberScanner._read_comma

    def _read_comma(self, piece: bytes, at: int) -> int:
        token, at = _next_token(piece, at)
        if token == b",":
            self._step = MemberScanner._read_key
        elif token == _CLOSE_BRACE:
            self._complete()
        elif token:
            self._know()
        return at

    # Below the top level.

    def _read_nested(self, piece: bytes, at: int) -> int:
        depth = self._depth
        while found := _TO_BRACKET.match(piece, at):
            at = found.end()
            token = piece[at - 1]
            if token == _QUOTE_BYTE:
                at = self._closing_quote(piece, at) + 1
                if at:
                    continue
                self._begin_string(_NONE_OF_IT, MemberScanner._end_nested_string)
                break
            self._count_step()
            if self.is_known:
                return at
            depth += 1 if token in b"[{" else -1
            if not depth:
                self._end_value(NoValue.OTHER)
                return at
        self._depth = depth
        return len(piece)

    def _end_nested_string(self) -> None:
        self._step = MemberScanner._read_nested

    # Strings.

    def _begin_string(self, limit: int, then: "Callable[[MemberScanner], None]") -> None:
        self._begin(limit)
        self._then = then
        self._step = MemberScanner._read_string

    def _read_string(self, piece: bytes, at: int) -> int:
        quote = self._closing_quote(piece, at)
        stop = len(piece) if quote < 0 else quote
        self._keep(piece, at, stop)
        if quote < 0:
            return stop
        self._then(self)
        return stop + 1

    def _closing_quote(self, piece: bytes, at: int) -> int:
        """Return the position of the quote that ends the string; -1 if it is in a later piece.

        A quote ends it if the number of backslashes right before it is even.
        """
        at += self._is_escaped
        self._is_escaped = False
        while True:
            quote = piece.find(_QUOTE, at)
            stop = len(piece) if quote < 0 else quote
            is_escaped = False
            if stop > at and piece[stop - 1] == _BACKSLASH_BYTE:
                text = piece[at:stop]
                is_escaped = (len(text) - len(text.rstrip(b"\\"))) % 2 == 1
            if quote < 0 or not is_escaped:
                self._is_escaped = is_escaped
                return quote
            at = quote + 1

    def _begin(self, limit: int) -> None:
        self._kept.clear()
        self._limit = limit
        self._is_long = limit == _NONE_OF_IT

    def _keep(self, piece: bytes, at: int, stop: int) -> None:
        if self._is_long:
            return
        if len(self._kept) + stop - at > self._limit:
            self._is_long = True
            self._kept.clear()
        else:
            self._kept += piece[at:stop]

    def _meaning(self, written: bytes) -> str:
        """Return the string that stands between the quotes; if it is none, the body is no JSON object."""
        try:
            text = json.loads(f'"{written.decode(errors="surrogatepass")}"')
        except ValueError:
            self._know()
            return ""
        assert isinstance(text, str)
        return text

    # Private.

    def _count_step(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            self._know()

    def _complete(self) -> None:
        self.is_object = True
        self._know()

    def _know(self) -> None:
        self.is_known = True


def _next_token(piece: bytes, at: int) -> tuple[bytes, int]:
    """Return the first byte that is no blank, and the position behind it; at the end of the piece, no byte."""
    at = _end_of(_BLANKS, piece, at)
    token = piece[at : at + 1]
    return token, at + len(token)


def _end_of(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    """Return where the run ends that a pattern which always matches finds at `at`."""
    found = pattern.match(piece, at)
    assert found is not None
    return found.end()


@lru_cache
def _plain_members(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Return what matches members with a short plain key that is none of `names`, a plain value, and a comma."""
    wanted = b"|".join(map(re.escape, sorted(names)))
    blanks = _BLANKS.pattern
    return re.compile(
        rb'(?:%b"(?!(?:%b)")[^"\\]{0,256}+"%b:%b(?:"[^"\\]{0,256}+"|%b)%b,){0,64}'
        % (blanks, wanted, blanks, blanks, _PLAIN_SCALAR, blanks)
    )
