"""What do the fields of a request say about its body and its way, and can they be read in one way only?

What two parsers could read in two ways is refused, not repaired.
"""

import re
from collections.abc import Mapping, Sequence

from sseproxy.core.errors import BadRequest, ExpectationFailed
from sseproxy.core.http.fields import tokens

#: The values of all header fields, by lower-case name.
Fields = Mapping[bytes, Sequence[bytes]]

_NONE: Sequence[bytes] = ()
_DIGITS = re.compile(rb"[0-9]{1,18}")
#: Refused as protocols to switch to: HTTP/2 in clear text would be a way around every rule of this proxy.
_NOT_TUNNELLED = frozenset((b"h2c", b"h2"))


def read_framing(fields: Fields, *, is_11: bool) -> int | None:
    """Return the length of a body, if it is known (RFC 9112 section 6.3). Raises `BadRequest`."""
    lengths = fields.get(b"content-length")
    codings = fields.get(b"transfer-encoding")
    if codings:
        if lengths:
            raise BadRequest("The request has both Content-Length and Transfer-Encoding.")
        if not is_11 or [value.strip().lower() for value in codings] != [b"chunked"]:
            raise BadRequest("The request's Transfer-Encoding is not understood.")
        return None
    assert lengths
    if len(lengths) > 1:
        raise BadRequest("The request has several Content-Length fields.")
    if not _DIGITS.fullmatch(lengths[0]):
        raise BadRequest("The request's Content-Length is not a number.")
    return int(lengths[0])


def read_max_forwards(fields: Fields) -> int | None:
    """Return how many more proxies may pass the request on (RFC 9110 section 7.6.2); ``None`` if it is unclear."""
    values = fields[b"max-forwards"]
    return int(values[0]) if len(values) == 1 and _DIGITS.fullmatch(values[0]) else None


def read_expectation(values: Sequence[bytes]) -> bool:
    """Return whether the client waits for ``100 Continue`` (RFC 9110 section 10.1.1). Raises `ExpectationFailed`."""
    expectations = tokens(values)
    if expectations and expectations != [b"100-continue"]:
        raise ExpectationFailed("The only expectation that can be met is 100-continue.")
    return bool(expectations)


def read_upgrade(fields: Fields) -> bytes | None:
    """Return the protocols that the client wants to switch to, if it asks for it properly (RFC 9110 section 7.8)."""
    if b"upgrade" not in tokens(fields.get(b"connection", _NONE)):
        return None
    offered = b", ".join(fields.get(b"upgrade", _NONE))
    wanted = [name for name in tokens([offered]) if name not in _NOT_TUNNELLED]
    return offered if wanted and len(wanted) == len(tokens([offered])) else None
