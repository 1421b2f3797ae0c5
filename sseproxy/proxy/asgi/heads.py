"""What does the head of a response say, where the server in front chooses its framing and keeps the connection?"""

from http import HTTPStatus

from sseproxy.core.http.fields import Headers, get, without
from sseproxy.http1.treatment import ResponseTreatment

#: Fields of which each response has one at most, and which servers in front write themselves.
_OF_SERVERS = frozenset((b"date",))
_LENGTH = frozenset((b"content-length",))
_UPGRADE = frozenset((b"upgrade",))
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def content_fields(status: int, headers: Headers, *, length: int | None, has_body: bool, is_head: bool) -> Headers:
    """Return the fields with their names in lower case, and with a length only where the server can do with it.

    Hazard: uvicorn counts what a 304 declares as missing.
    """
    fields = [(name.lower(), value) for name, value in without(headers, _OF_SERVERS)]
    if status in _BODILESS or (has_body and length is None):
        return without(fields, _LENGTH)
    if has_body or is_head:
        return fields
    # A kept HEAD, which a GET has brought about: its length would be one of nothing.
    return [*without(fields, _LENGTH), (b"content-length", b"0")]


def is_last(status: int, treatment: ResponseTreatment, *, has_content: bool, was_asked: bool, is_stream: bool) -> bool:
    """Return whether no other response may follow on the connection; see `HttpDownstream.send_head`.

    was_asked: the client, for its body. is_stream: and so ends its connection without a word.
    """
    reset_with_body = status == HTTPStatus.RESET_CONTENT and has_content
    return reset_with_body or (treatment.awaits_continue and not was_asked) or (treatment.is_last and not is_stream)


def with_connection(status: int, fields: Headers, *, keep_alive: bool, is_http1: bool) -> Headers:
    """Return the fields with those about the connection, which HTTP/2 does not have."""
    if not is_http1:
        return without(fields, _UPGRADE)
    options = [] if keep_alive else [b"close"]
    if status == HTTPStatus.UPGRADE_REQUIRED and get(fields, b"upgrade") is not None:
        options.append(b"upgrade")  # RFC 9110 section 7.8
    return [*fields, (b"connection", b", ".join(options))] if options else fields
