"""What does the service that `authorize` asks say of a client, for how long does it hold, and where does it go on?"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from sseproxy.core.http.fields import Headers, get_all, has_forbidden_bytes

#: Clients that are known to have been let in, whatever route they used.
MOST_LOGINS = 10_000

_BLANKS = b" \t"
_TEMPLATE = re.compile(r"\{auth:([^{}]*)\}")


def names_in(value: str) -> list[str]:
    """The names that the templates ``{auth:NAME}`` in a value ask for. Other braces are text."""
    return _TEMPLATE.findall(value)


def with_identity(value: str, identity: Mapping[str, bytes]) -> bytes:
    """`value` with what `identity` says in place of each ``{auth:NAME}``. All names must be known.

    Hazard: what a service says may look like a template. It is not looked at again.
    """
    texts_and_names = _TEMPLATE.split(value)
    return b"".join(identity[part] if index % 2 else part.encode() for index, part in enumerate(texts_and_names))


def read_identity(headers: Headers, take: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    """What the fields of a response say, by the names of `take`.

    Raises `ValueError` for a field that is missing, repeated, empty or no field value: it does not say who this is.
    """
    identity = {}
    for name, wanted in take:
        said = [value.strip(_BLANKS) for value in get_all(headers, wanted.lower().encode())]
        if len(said) != 1:
            raise ValueError(f"the answer to authorize has {len(said) or 'no'} fields {wanted}")
        if not said[0] or has_forbidden_bytes([(b"", said[0])]):
            raise ValueError(f"the answer to authorize has an unusable field {wanted}")
        identity[name] = said[0]
    return identity


class RecentLogins:
    """Who has been let in of late, by a digest of their credentials.

    most: of them; one more, and the one that has not been seen for longest is dropped.
    Times are seconds of whatever monotonic clock the caller uses.
    """

    def __init__(self, most: int = MOST_LOGINS) -> None:
        self._most = most
        self._known: OrderedDict[bytes, tuple[float, Mapping[str, bytes]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: bytes, *, now: float) -> Mapping[str, bytes] | None:
        """Return the identity of a client; ``None`` if it has to be asked for."""
        known = self._known.get(key)
        if known is None:
            return None
        if known[0] <= now:
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return known[1]

    def keep(self, key: bytes, identity: Mapping[str, bytes], *, until: float) -> None:
        """Remember a client that was let in."""
        self._known[key] = until, identity
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
