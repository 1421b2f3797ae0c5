"""Which instances of sseproxy has a request passed, and how does this one sign it? (RFC 9110 section 7.6.3)

Hazard: in a loop of several instances no token may get lost, or the request goes round for ever. So tokens go on from
any peer, and whatever the rules of a route do to ``Via``; a request that has passed too many is refused.
"""

import re
from collections.abc import Iterable, Sequence

from sseproxy.core.http.fields import PSEUDONYM, Headers, get_all, tokens, without

#: Instances that a request may have passed.
MOST_INSTANCES = 16

_INSTANCE = re.compile(PSEUDONYM + rb"-[0-9a-z]{1,32}")


def instances(values: Iterable[bytes]) -> list[bytes]:
    """The names of instances that the values of ``Via`` hold, each once. Names are in lower case."""
    names = [name for member in tokens(values) for name in member.split()[1:2]]
    return list(dict.fromkeys(name for name in names if _INSTANCE.fullmatch(name)))


def is_loop(passed: Sequence[bytes], name: bytes) -> bool:
    """True if a request that has `passed` these instances must not pass the one called `name`."""
    return name in passed or len(passed) > MOST_INSTANCES


def signed(headers: Headers, passed: Sequence[bytes], name: bytes) -> Headers:
    """`headers`, to which no more rules apply, with a ``Via`` that names all instances `passed` and at last `name`."""
    said = get_all(headers, b"via")
    known = instances(said)
    missing = [b"1.1 " + instance for instance in (*passed, name) if instance not in known]
    others = without(headers, {b"via"}) if said else headers
    return [*others, (b"Via", b", ".join([*said, *missing]))]
