"""In which ways can an upstream fail, before its response and in it, and what do we call them?"""

import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator

import aiohttp
import httptools

from sseproxy.core.errors import ConnectError, OriginError, OutOfDescriptors, UpstreamBroken


@contextlib.contextmanager
def our_errors() -> Iterator[None]:
    """Every way in which a connection can fail to come about, as one of ours."""
    try:
        yield
    except TimeoutError as error:
        raise ConnectError(
            "The connection to the upstream took too long.", proxy_status="connection_timeout"
        ) from error
    except (aiohttp.ClientConnectorDNSError, socket.gaierror) as error:
        raise ConnectError("The upstream's name is not known.", proxy_status="dns_error", cause=str(error)) from error
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
        raise ConnectError(
            "The upstream's certificate is not valid.", proxy_status="tls_certificate_error", cause=str(error)
        ) from error
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        raise ConnectError(
            "The TLS handshake with the upstream failed.", proxy_status="tls_protocol_error", cause=str(error)
        ) from error
    except ConnectionRefusedError as error:
        raise _refused(error) from error
    except (aiohttp.ClientError, OSError) as error:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            raise OutOfDescriptors("Too many connections are open.", retry_after=1, cause=str(error)) from error
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
            raise _refused(error) from error
        raise ConnectError(
            "The upstream cannot be reached.", proxy_status="destination_unavailable", cause=str(error)
        ) from error


def _refused(error: Exception) -> ConnectError:
    return ConnectError("The upstream refused the connection.", proxy_status="connection_refused", cause=str(error))


def too_large() -> OriginError:
    return not_http("the head is too large", "http_response_header_section_size")


def not_http(cause: object, proxy_status: str = "http_protocol_error") -> OriginError:
    """What came is no response. cause: what is wrong with it; of an error in one of our callbacks, that error."""
    if isinstance(cause, httptools.HttpParserCallbackError):
        cause = cause.__context__ or cause
    return UpstreamBroken("The upstream's answer is not valid HTTP.", proxy_status=proxy_status, cause=str(cause))


def broken_off(lost_by: Exception | None, *, in_body: bool) -> OriginError:
    """The connection is gone. in_body: the response had begun. lost_by: what the network has to say about it."""
    cause = None if lost_by is None else str(lost_by)
    if in_body:
        text, proxy_status = "The upstream broke off in the middle of its response.", "http_response_incomplete"
    else:
        text, proxy_status = "The upstream closed the connection before it answered.", "connection_terminated"
    return UpstreamBroken(text, proxy_status=proxy_status, cause=cause)
