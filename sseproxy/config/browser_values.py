"""What may a value say of what is done for browsers, and what does it mean?

Like `values`: every function takes a value as YAML gave it, and returns what it means or raises `BadValue`.
"""

from sseproxy.config.values import TOKEN, BadValue, describe, field_value, format_size, line, quote, size, text
from sseproxy.core.eventsource.policies import MOST_BODY, TicketBinding

#: Stands for what must not be shown.
MASK = "***"

_SHORTEST_SECRET = 16  # characters


def body_size(value: object) -> int:
    """Bytes of a request body that is kept in memory."""
    count = size(value)
    if count > MOST_BODY:
        raise BadValue(f"must be at most {format_size(MOST_BODY)}", "it is kept in memory")
    return count


def secret(value: object) -> str:
    """What others must not guess. Messages do not repeat it."""
    if not isinstance(value, str):
        raise BadValue("expected text", "put it in quotes")
    found = text(value)
    if len(found) < _SHORTEST_SECRET:
        raise BadValue(f"must have at least {_SHORTEST_SECRET} characters", "such as from openssl rand -hex 16")
    return found


def cookie_name(value: object) -> str:
    """The name of a cookie (RFC 6265 section 4.1.1); upper and lower case differ."""
    found = line(value)
    if not TOKEN.fullmatch(found):
        raise BadValue(f"{quote(found)} is not the name of a cookie")
    return found


def binding(value: object) -> tuple[TicketBinding, str]:
    """Who may open a ticket, and the name of the cookie, if it is one that is asked for."""
    if isinstance(value, str) and value in (TicketBinding.NONE, TicketBinding.ADDRESS):
        return TicketBinding(str(value)), ""
    if isinstance(value, str) and value.startswith("cookie:"):
        return TicketBinding.COOKIE, cookie_name(value.removeprefix("cookie:"))
    hint = "name it: cookie:session" if value == TicketBinding.COOKIE else ""
    raise BadValue(f"expected none, cookie:NAME or address, got {describe(value)}", hint)


def format_binding(bound: tuple[TicketBinding, str]) -> str:
    """The text that `binding` reads as `bound`."""
    kind, name = bound
    return f"{kind}:{name}" if name else str(kind)


def template(value: object) -> str:
    """The value of a header field with a place for another."""
    found = field_value(value)
    if "{value}" not in found:
        raise BadValue("must contain {value}", 'such as "Bearer {value}"')
    return found
