"""What does the head of a response say about its body? (RFC 9112 section 6.3)"""

from http import HTTPStatus

from sseproxy.core.http.fields import HOP_BY_HOP, Headers, by_name, end_to_end, has_forbidden_bytes, tokens, without
from sseproxy.http1.messages import ResponseHead

MAX_FIELDS = 256


class HeadTooLarge(ValueError):
    """A head of more bytes than are kept."""


def check_fields(reason: bytes, headers: Headers, *, max_size: int) -> None:
    """Raise `ValueError` for a head that must not be written to a client. max_size: of its fields, in bytes."""
    if len(headers) > MAX_FIELDS:
        raise ValueError(f"more than {MAX_FIELDS} header fields")
    if has_forbidden_bytes([(b"", reason), *headers]):
        raise ValueError("a control character in a header field or in the reason phrase")
    if sum(len(name) + len(value) + 4 for name, value in headers) > max_size:
        raise HeadTooLarge("the head is too large")


def read_head(status: int, reason: bytes, headers: Headers, *, to_head: bool) -> ResponseHead:
    """Return the head in short. to_head: it answers a HEAD request. Raises `ValueError` for what makes no sense."""
    fields = by_name(headers)
    protocol = fields.get(b"upgrade", (b"",))[0] if status == 101 else None
    if status == 101 and not (protocol and b"upgrade" in tokens(fields.get(b"connection", ()))):
        raise ValueError("a switch to no protocol")
    coded = tokens(fields.get(b"transfer-encoding", ()))
    if coded and coded != [b"chunked"]:
        raise ValueError("an unknown transfer coding")
    length = None if coded or b"content-length" not in fields else fields[b"content-length"][0]
    has_body = not (to_head or status in (101, 204, 304))
    end_to_end_fields = headers if HOP_BY_HOP.isdisjoint(fields) else end_to_end(headers)
    if status == HTTPStatus.UPGRADE_REQUIRED and b"upgrade" in fields:
        # The protocol that the upstream asks for (RFC 9110 section 15.5.22).
        end_to_end_fields = [*end_to_end_fields, (b"Upgrade", b", ".join(fields[b"upgrade"]))]
    return ResponseHead(
        status=status,
        reason=reason,
        headers=without(end_to_end_fields, {b"content-length"}) if status == 204 else end_to_end_fields,  # RFC 9110 8.6
        length=int(length) if length is not None else None,
        has_body=has_body,
        upgraded_to=protocol,
        ends_with_connection=has_body and not coded and length is None,
    )
