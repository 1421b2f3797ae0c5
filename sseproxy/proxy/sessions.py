"""Which session does an event stream get, for this route and this client?"""

import random
from functools import partial

from sseproxy.core.clients import form_for_fields
from sseproxy.core.ending import Farewell
from sseproxy.core.heartbeat import HeartbeatForm
from sseproxy.core.marker import MarkedSession
from sseproxy.core.routes import Route
from sseproxy.core.session import StreamSession
from sseproxy.proxy.inbound import InboundRequest

_EARLIEST_BEAT = 0.1  # of the interval: how far the beats of streams that began together are spread


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
