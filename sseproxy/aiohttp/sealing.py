"""How is aiohttp kept from sending anything more for a request that has its response?

Of aiohttp this leans on one thing that is not promised (`tests/aiohttp/proxy/test_leans.py` holds it): all clones of a
request share `request.writer`, which has `output_size`, by which aiohttp knows whether it can still answer with an
error, and `write_headers`, by which any response begins.
"""

import logging
from typing import NoReturn

from aiohttp.abc import AbstractStreamWriter

from sseproxy.logs import LOGGER

_log = logging.getLogger(LOGGER)


def seal(writer: AbstractStreamWriter) -> None:
    """Let no other response be sent with the writer of a request: clients would take it for a part of the first one,
    or for the response to their next request. The connection closes if a middleware tries.
    """
    count_as_sent(writer)
    vars(writer)["write_headers"] = _refuse


def count_as_sent(writer: AbstractStreamWriter) -> None:
    """Let aiohttp close the connection if the handler raises, in place of an answer with an error."""
    writer.output_size = max(writer.output_size, 1)


async def _refuse(*_: object) -> NoReturn:
    """Stand in for the writer's method of this name."""
    _log.error("a middleware answers a request again that has its response: the connection is closed")
    raise ConnectionError("The response has been sent already.")
