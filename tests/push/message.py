"""What is in a message of the soak, so that a client can tell whose it is and whether it is whole?"""

import json
import random
import zlib


def written(name: str, n: int, dice: random.Random) -> str:
    """Return the text of the message `n` of a name: JSON, now and then over several lines, not only ASCII."""
    filling = dice.choice(("", "x" * dice.randrange(200), "grüße ☃ " * dice.randrange(8)))
    fields = {"name": name, "n": n, "filling": filling, "sum": _sum(name, n, filling)}
    return json.dumps(fields, ensure_ascii=dice.random() < 0.5, indent=1 if dice.random() < 0.1 else None)


def read(text: str) -> tuple[str, int, bool]:
    """Return name, number, and whether the checksum is right. ValueError, KeyError: it is no message."""
    fields = json.loads(text)
    name, n = str(fields["name"]), int(fields["n"])
    return name, n, fields["sum"] == _sum(name, n, fields["filling"])


def _sum(name: str, n: int, filling: str) -> int:
    return zlib.crc32(f"{name}:{n}:{filling}".encode())
