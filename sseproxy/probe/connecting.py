"""How is a service connected to, and why does that fail?"""

import asyncio
import ssl

from sseproxy.probe.target import Target

_CONNECT_LIMIT = 15.0
_HAPPY_EYEBALLS = 0.25
_BUFFER = 64 * 1024


class Unreachable(Exception):
    """There was no connection; the text says why, without a secret."""


async def connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the two halves of a new connection. Raises `Unreachable`: foreign errors end here."""
    context = _context(target) if target.tls else None
    try:
        async with asyncio.timeout(_CONNECT_LIMIT):
            return await asyncio.open_connection(
                target.host,
                target.port,
                ssl=context,
                server_hostname=target.host if target.tls else None,
                happy_eyeballs_delay=_HAPPY_EYEBALLS,
                limit=_BUFFER,
            )
    except TimeoutError:
        raise Unreachable(f"no connection within {_CONNECT_LIMIT:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(
            f"the certificate is not valid: {error.verify_message} (--insecure asks all the same)"
        ) from None
    except ssl.SSLError as error:
        raise Unreachable(f"no TLS: {error.reason or 'the handshake failed'}") from None
    except ConnectionRefusedError:
        raise Unreachable("nothing listens there: connection refused") from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(_reason(error)) from None


def _reason(error: Exception) -> str:
    # Name resolution fails with numbers below zero, and Happy Eyeballs with several errors in one.
    if isinstance(error, OSError) and (error.errno or 0) < 0:
        return f"the host name was not found: {error.strerror}"
    if isinstance(error, ConnectionError):
        return "the connection was closed while it was made"
    return f"no connection: {(error.strerror if isinstance(error, OSError) else None) or error}"


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not target.checks_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
