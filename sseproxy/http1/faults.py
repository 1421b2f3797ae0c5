"""In which ways can a response fail, and which errors are they?"""

import ssl

import httptools

from sseproxy.core.errors import OriginError, UpstreamBroken


def too_large() -> OriginError:
    return not_http("the head is too large", "http_response_header_section_size")


def not_http(cause: object, proxy_status: str = "http_protocol_error") -> OriginError:
    """Return the error for what is no response.

    cause: what is wrong with it; of llhttp's error in a callback, the callback's own error is taken.
    """
    if isinstance(cause, httptools.HttpParserCallbackError):
        cause = cause.__context__ or cause
    return UpstreamBroken("The upstream's answer is not valid HTTP.", proxy_status=proxy_status, cause=str(cause))


def broken_off(lost_by: Exception | None, *, in_body: bool) -> OriginError:
    """Return the error for a connection that is lost.

    in_body: the response had begun. lost_by: what the network has to say about it.
    """
    cause = None if lost_by is None else str(lost_by)
    # In TLS 1.3 the upstream looks at our certificate when its client has finished: its alert comes behind the request.
    if isinstance(lost_by, ssl.SSLError) and "_ALERT_" in (getattr(lost_by, "reason", None) or "") and not in_body:
        text, proxy_status = "The upstream ended TLS with an alert.", "tls_alert_received"
    elif in_body:
        text, proxy_status = "The upstream broke off in the middle of its response.", "http_response_incomplete"
    else:
        text, proxy_status = "The upstream closed the connection before it answered.", "connection_terminated"
    return UpstreamBroken(text, proxy_status=proxy_status, cause=cause)
