"""In which ways can a connection to an upstream fail to come about, and what do we call them?"""

import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator

from sseproxy.core.errors import ConnectError, OutOfDescriptors

#: Errors of connecting to a service that is not there at the moment: its process has ended, or its machine, or its
#: container with the address that it had. A unix socket that does not exist has no process either.
_AWAY = frozenset(
    (
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOENT,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        None,  # several addresses, and each failed in a way of its own
    )
)


def is_away(error: OSError) -> bool:
    """True if connecting failed because the service is away for now: it starts, or is being restarted.

    An unknown name is such an error: Docker and headless services of Kubernetes have none while no instance runs.
    A wait that was too long is none, nor is what the service itself has said (TLS).
    """
    if isinstance(error, TimeoutError | ssl.SSLError):
        return False
    return isinstance(error, socket.gaierror) or error.errno in _AWAY


@contextlib.contextmanager
def our_errors() -> Iterator[None]:
    """Raise what `Connector.open` raises as `ConnectError`, or as `OutOfDescriptors` if this process is the cause.

    The cause goes into the log, not to the client.
    """
    try:
        yield
    except TimeoutError as error:
        raise ConnectError(
            "The connection to the upstream took too long.", proxy_status="connection_timeout"
        ) from error
    except socket.gaierror as error:
        raise ConnectError("The upstream's name is not known.", proxy_status="dns_error", cause=str(error)) from error
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(
            "The upstream's certificate is not valid.", proxy_status="tls_certificate_error", cause=str(error)
        ) from error
    except ssl.SSLError as error:
        raise ConnectError(
            "The TLS handshake with the upstream failed.", proxy_status="tls_protocol_error", cause=str(error)
        ) from error
    except ConnectionRefusedError as error:
        raise ConnectError(
            "The upstream refused the connection.", proxy_status="connection_refused", cause=str(error)
        ) from error
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise OutOfDescriptors("Too many connections are open.", retry_after=1, cause=str(error)) from error
        raise ConnectError(
            "The upstream cannot be reached.", proxy_status="destination_unavailable", cause=str(error)
        ) from error
