"""Is a response an event stream that sseproxy can read, and how does its body flow? (contract S11)"""

import logging

from sseproxy.core.http.fields import is_stream_response
from sseproxy.core.routes import Route
from sseproxy.core.stream.plan import StreamMode
from sseproxy.core.stream.session import StreamSession
from sseproxy.engine.relay import Relay
from sseproxy.http1.messages import ResponseHead
from sseproxy.logs import LOGGER
from sseproxy.origins.codings import Decoder, DecodingSource, decoder_for
from sseproxy.origins.exchange import HttpExchange

_log = logging.getLogger(LOGGER)


def read_coding(head: ResponseHead, route: Route) -> tuple[Decoder | None, bool]:
    """Whether the response is an event stream that we can read, and what decodes it (S11)."""
    if route.stream is StreamMode.NEVER or not head.has_body or not is_stream_response(head.status, head.headers):
        return None, False
    try:
        return decoder_for(head.headers), True
    except LookupError as error:
        _log.warning("route %s: an event stream with an unknown content coding %s", route.name, error)
        return None, False


def let_flow(relay: Relay, exchange: HttpExchange, decoder: Decoder | None) -> None:
    """Let the body of a response flow into `relay`, decoded on the way if need be."""
    if decoder is None:
        relay.connect(exchange)
        exchange.attach(relay, by_line=isinstance(relay.transfer, StreamSession))
    else:
        decoding = DecodingSource(decoder, exchange, relay)
        relay.connect(decoding)
        exchange.attach(decoding)
