"""What is the probe's origin asked, and when does its client leave?"""

import asyncio
import contextlib
from collections.abc import Mapping

from sseproxy.core.frozen import frozen
from sseproxy.probe.script import FIELD, Script, read_script

_READ = 64 * 1024

#: Fields by which hops show in a request. No others are sent back: a request may carry a password.
_SHOWN = frozenset(
    (
        "via",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "cf-ray",
        "cdn-loop",
        "x-amzn-trace-id",
        "x-cloud-trace-context",
        "x-envoy-expected-rq-timeout-ms",
        "x-amz-cf-id",
        "x-azure-ref",
        "x-kong-request-id",
        "fly-request-id",
        "x-vercel-id",
        "fastly-client-ip",
        "x-varnish",
        "accept-encoding",
    )
)


@frozen
class Request:
    """The head of a request. fields: by name in lower case, the last of each name."""

    version: str
    path: str
    fields: Mapping[str, str]

    @property
    def script(self) -> Script:
        """What it asks for."""
        return read_script(self.fields.get(FIELD.lower()))

    @property
    def shown(self) -> dict[str, str]:
        """The fields by which hops show."""
        return {name: value for name, value in self.fields.items() if name in _SHOWN}


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The head of a request; None if what comes is none."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    words = start.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    pairs = (line.partition(":") for line in lines)
    path = words[1].partition("?")[0]
    # Written to a terminal, so without what could steer one.
    safe = "".join(letter if letter.isprintable() else "?" for letter in path[:200])
    return Request(words[2], safe, {name.strip().lower(): value.strip() for name, _, value in pairs})


async def until_end_of(reader: asyncio.StreamReader) -> None:
    """Wait until the client has ended its side, in order or not."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(_READ):
            pass
