"""Which header fields are meant for all recipients, so that no connection option can take them away?

RFC 9110 section 7.6.1: a ``Connection`` option must not name a field that is intended for all recipients. Gateways do
not check that for their clients: ``Connection: X-Forwarded-For`` would remove what a trusted one has said.
"""

#: RFC 9110 section 18.4, less what belongs to one hop; and the fields of caches (RFC 9111 section 9).
_OF_HTTP = frozenset(
    (
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"accept-ranges",
        b"age",
        b"allow",
        b"authentication-info",
        b"authorization",
        b"cache-control",
        b"date",
        b"etag",
        b"expect",
        b"expires",
        b"from",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-modified",
        b"location",
        b"max-forwards",
        b"pragma",
        b"proxy-authentication-info",
        b"range",
        b"referer",
        b"retry-after",
        b"server",
        b"user-agent",
        b"vary",
        b"via",
        b"www-authenticate",
    )
)

#: What the proxy itself reads, writes, or hands on because a service goes by it.
_OF_THE_PROXY = frozenset(
    (
        b"anthropic-version",
        b"baggage",
        b"cookie",
        b"digest",
        b"forwarded",
        b"last-event-id",
        b"origin",
        b"proxy-status",
        b"repr-digest",
        b"set-cookie",
        b"traceparent",
        b"tracestate",
        b"x-accel-buffering",
        b"x-api-key",
        b"x-content-type-options",
        b"x-goog-api-client",
        b"x-goog-api-key",
        b"x-original-method",
        b"x-original-uri",
        b"x-real-ip",
        b"x-request-id",
        b"x-requested-with",
    )
)

_FAMILIES = (b"access-control-", b"content-", b"mcp-", b"sec-", b"x-forwarded-", b"x-stainless-")


def is_end_to_end(name: bytes) -> bool:
    """True if a field with this lower-case name is end to end, whatever ``Connection`` says.

    ``_`` counts as ``-``: CGI and WSGI take both for the same name.
    """
    plain = name.replace(b"_", b"-")
    return plain in _OF_HTTP or plain in _OF_THE_PROXY or plain.startswith(_FAMILIES)
