"""What is on the wire of the soak: the data of an event, and a client's view of a response, block by block?"""

import zlib
from dataclasses import dataclass, field


def data(source: str, n: int) -> str:
    """Return the data of event `n`: whose it is, its number, a filling, and a checksum over all that."""
    filling = "x" * (4000 if source.startswith("fat") else n * 7 % 60) + ("" if n % 3 else "é☃")
    text = f"{source} {n} {filling}"
    return f"{text} {zlib.crc32(text.encode())}"


def read_data(text: str) -> tuple[str, int, bool]:
    """Return source, number, and whether the event is whole; "" and 0 if it is none of the soak."""
    source, _, rest = text.partition(" ")
    number = rest.partition(" ")[0]
    body, _, checksum = text.rpartition(" ")
    if not number.isdecimal():
        return "", 0, False
    return source, int(number), checksum == str(zlib.crc32(body.encode()))


def event(source: str, n: int) -> bytes:
    """Return event `n` of a source, in one of several spellings; a `named` one has an id of its own."""
    lines = [": a comment"] if n % 5 == 2 else []
    lines += [f"id: {n}"] if source.startswith("named") else []
    lines += ["event: tick"] if n % 4 == 1 else []
    lines += ["retry: 200"] if n % 8 == 1 else []
    end = "\r\n" if n % 7 == 3 else "\n"
    return (end.join([*lines, f"data: {data(source, n)}"]) + end * 2).encode()


def path(feed: str) -> str:
    """Return where a feed is, such as ``/fat/fat-0``: each kind has a route."""
    return f"/{feed.partition('-')[0]}/{feed}"


def kind(n: int) -> str:
    """Return the type of event `n`."""
    return "tick" if n % 4 == 1 else "message"


@dataclass(frozen=True, slots=True)
class Block:
    """The fields of one block of an event stream; id: ``None`` if it has none."""

    id: str | None
    type: str
    data: str


@dataclass
class Response:
    """A response as it comes: its head, then its body, chunked or to the end of the connection.

    is_whole: its end has come, and it is a clean one.
    """

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False
    text: bytes = b""
    _raw: bytes = b""
    _left: int | None = None

    def feed(self, piece: bytes) -> list[Block]:
        """Take what has come, and return the blocks that are whole now. ValueError: it is no HTTP."""
        self._raw += piece
        if not self.status and not self._has_head():
            return []
        if self.fields.get("transfer-encoding") == "chunked":
            self._unchunk()
        else:
            self.text += self._raw
            self._raw = b""
            self.is_whole = len(self.text) >= int(self.fields.get("content-length", "0"))
        # What no run keeps, such as an answer that begins in a drain, is relayed with the line ends that it has.
        *blocks, self.text = self.text.replace(b"\r\n", b"\n").split(b"\n\n")
        return [parsed for block in blocks if (parsed := _parsed(block.decode())) is not None]

    def _has_head(self) -> bool:
        head, end, rest = self._raw.partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status, self._raw = int(first.split(" ")[1]), rest
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return True

    def _unchunk(self) -> None:
        pieces = [self.text]
        while self._raw and not self.is_whole:
            if self._left is None:
                size, end, rest = self._raw.partition(b"\r\n")
                if not end:
                    break
                self._left, self._raw = int(size, 16), rest
                self.is_whole = self._left == 0
            elif len(self._raw) < self._left + 2:
                break
            else:
                pieces.append(self._raw[: self._left])
                self._raw, self._left = self._raw[self._left + 2 :], None
        self.text = b"".join(pieces)


def _parsed(block: str) -> Block | None:
    name, type_, lines = None, "message", []
    for line in block.split("\n"):
        key, _, value = line.partition(": ")
        if key == "id":
            name = value
        elif key == "event":
            type_ = value
        elif key == "data":
            lines.append(value)
    return None if name is None and not lines else Block(name, type_, "\n".join(lines))
