"""Which parameters does the query of a request target have?"""

import re

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def parameters(query: str, name: str) -> list[bytes]:
    """The values of all parameters called `name`. query: without its question mark.

    They are decoded as pages encode them (WHATWG URL section 5.1): percent-escapes, and ``+`` for a blank.
    """
    wanted, found = name.encode(), []
    for pair in query.encode().split(b"&"):
        said, _, value = pair.partition(b"=")
        if unescaped(said) == wanted:
            found.append(unescaped(value))
    return found


def unescaped(text: bytes) -> bytes:
    """The bytes that a name or a value in a query stands for."""
    return _ESCAPE.sub(lambda escape: bytes((int(escape[1], 16),)), text.replace(b"+", b" "))
