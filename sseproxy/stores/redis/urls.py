"""Which Redis does a URL name, and is the URL well formed?"""

from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What answers at the address."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisURL:
    """One Redis, as a URL names it. Neither `repr` nor `str` shows a password.

    place: the URL without user, password and query, for logs.
    """

    kind: Kind
    place: str
    database: int = 0
    secret: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> "RedisURL":
        """Read ``redis://``, ``rediss://``, ``redis+unix://``, ``redis+sentinel://``, ``redis+cluster://``.

        Raises `ValueError`, in words that never repeat the URL.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        return self.place
