"""Is a response an event stream, and which session does it get, for this route and this client?"""

import logging
import random
from functools import partial

from sseproxy.core.clients import form_for_fields
from sseproxy.core.ending import Farewell
from sseproxy.core.headers import is_stream_response
from sseproxy.core.heartbeat import HeartbeatForm
from sseproxy.core.marker import MarkedSession
from sseproxy.core.routes import Route, StreamMode
from sseproxy.core.session import StreamSession
from sseproxy.logs import LOGGER
from sseproxy.origins.base import ResponseHead
from sseproxy.origins.codings import Decoder, decoder_for
from sseproxy.proxy.inbound import InboundRequest

_log = logging.getLogger(LOGGER)

_EARLIEST_BEAT = 0.1  # of the interval: how far the beats of streams that began together are spread


def read_coding(head: ResponseHead, route: Route) -> tuple[Decoder | None, bool]:
    """Whether the response is an event stream that we can read, and what decodes it (S11)."""
    if route.stream is StreamMode.NEVER or not head.has_body or not is_stream_response(head.status, head.headers):
        return None, False
    try:
        return decoder_for(head.headers), True
    except LookupError as error:
        _log.warning("route %s: an event stream with an unknown content coding %s", route.name, error)
        return None, False


def new_session(
    route: Route, inbound: InboundRequest, *, farewell: Farewell | None, responded: bool, now: float
) -> StreamSession:
    """A session under the route's policies. responded: the upstream's head has arrived."""
    heartbeat = route.heartbeat
    is_auto = heartbeat.form is HeartbeatForm.AUTO
    marker = None if route.end is None else route.end.marker
    kind = StreamSession if marker is None else partial(MarkedSession, marker=marker)
    return kind(
        heartbeat=heartbeat,
        timeouts=route.timeouts,
        limits=route.limits,
        dialect=route.dialect,
        form=form_for_fields(inbound.client_headers) if is_auto else None,
        farewell=farewell,
        responded=responded,
        early=random.uniform(0, _EARLIEST_BEAT) * (heartbeat.interval or 0.0),
        now=now,
    )
