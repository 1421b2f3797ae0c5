"""Which kind of stream is a response that sseproxy can read, and how does its body flow?"""

import logging

from sseproxy.core.routes import Route
from sseproxy.core.stream.kinds import MediaKind, kind_of
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.transfer import StreamTransfer
from sseproxy.engine.relay import Relay
from sseproxy.http1.messages import ResponseHead
from sseproxy.logs import LOGGER
from sseproxy.origins.codings import Decoder, DecodingSource, decoder_for
from sseproxy.origins.http import HttpExchange

_log = logging.getLogger(LOGGER)


def read_kind(head: ResponseHead, route: Route) -> tuple[MediaKind | None, Decoder | None]:
    """Return which kind of stream the response is, and what decodes it; no kind if it is relayed as it is."""
    if route.stream is StreamMode.NEVER or not head.has_body:
        return None, None
    kind = kind_of(head.status, head.headers)
    if kind is None:
        return None, None
    try:
        return kind, decoder_for(head.headers)
    except LookupError as error:
        _log.warning("route %s: a stream with an unknown content coding %s", route.name, error)
        return None, None


def connect_body(relay: Relay, exchange: HttpExchange, decoder: Decoder | None) -> None:
    """Connect the body of a response with `relay`, decoded on the way if need be."""
    if decoder is None:
        relay.connect(exchange)
        exchange.attach(relay, by_line=isinstance(relay.transfer, StreamTransfer))
    else:
        decoding = DecodingSource(decoder, exchange, relay)
        relay.connect(decoding)
        exchange.attach(decoding)
