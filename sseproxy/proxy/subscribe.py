"""How is a request served whose route leads to Redis: what does it name, and who feeds its stream?"""

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from sseproxy.core.eventsource.cookies import cookie_values
from sseproxy.core.http.fields import Headers, apply_rules, as_in_cgi, with_request_id
from sseproxy.core.http.query import parameters
from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.policy import Start
from sseproxy.core.journal.positions import named_position
from sseproxy.core.journal.templates import TemplateKind
from sseproxy.core.routes import Route
from sseproxy.core.stream.kinds import EVENT_STREAM
from sseproxy.engine.observer import JournalReading
from sseproxy.proxy.inbound import ClientRequest
from sseproxy.proxy.refusal import first_of
from sseproxy.proxy.tail import ResponseTail

if TYPE_CHECKING:
    from sseproxy.origins.redis.origin import RedisOrigin

_POSITION = b"last-event-id"

#: Seconds for which the head waits until Redis has said where the stream begins.
PATIENCE = 1.0


class Subscribing:
    """One request on its way to the streams or channels of `route`, until its response has begun.

    What it makes for longer goes to `tail`. is_spent: the response has begun.
    """

    # Plan: `start` finds out what the request names, then sends the head and connects a reader with the relay. From
    # there on the stream is like any other: the relay sends heartbeats, watches the client, and drains.
    #
    # Invariants:
    # 1. A request that cannot be served is refused before the head. Behind the head nothing is refused: while Redis is
    #    away, the client waits in a stream that is kept alive.
    # 2. The names are those of the request that was sent, which for a ticket is the one that was kept. The position is
    #    that of the client which reads the response.
    # 3. A client that has the head misses nothing from then on: it may let the messages be published for which it has
    #    opened the stream. So the head waits for the reader to begin. Where that takes too long, Redis is away, and a
    #    client without a position hears of a gap when it begins.

    __slots__ = ("_origin", "_request", "_route", "_tail", "is_spent")

    def __init__(self, request: ClientRequest, route: Route, origin: "RedisOrigin", tail: ResponseTail) -> None:
        self._request = request
        self._route = route
        self._origin = origin
        self._tail = tail
        self.is_spent = False

    async def start(self) -> None:
        """Begin the response. Raises `SSEProxyError`; then the client still has to hear of it."""
        request, route, tail = self._request, self._route, self._tail
        inbound, policy = request.inbound, route.redis
        assert policy is not None
        names = [template.resolve(self._values) for template in policy.names]
        request.drop_body()
        is_head = inbound.method == "HEAD"
        if not is_head:
            tail.admit(route)
        self.is_spent = True
        tail.record.status = tail.record.intended = 200
        fields = self._response_fields()
        tail.downstream.send_head(200, b"OK", fields, length=None, has_body=not is_head, hold=not is_head)
        if is_head:
            return
        wanted = inbound.stream_request(route)
        relay = tail.new_relay(route, kind=EVENT_STREAM, plan=wanted.plan())
        named = [(_POSITION, value) for value in inbound.client_fields.get(_POSITION, ())]
        position = named_position(named, inbound.client_query.encode())
        reader = self._origin.open(
            relay,
            names,
            policy,
            position,
            wants_primer=wanted.is_browser,
            most=route.limits.event,
            route=route.name,
        )
        if policy.is_stream:
            tail.note_journal(JournalReading(reader, position is not None))
        relay.connect(reader)
        if not reader.has_begun:
            heartbeat = route.heartbeat  # the head goes with the first one
            patience = 0.0 if heartbeat.prelude else min(PATIENCE, (heartbeat.interval or inf) / 2)
            await first_of(reader.when_begun(), relay.ended, within=patience)
            if position is None and policy.is_stream and policy.start is Start.LATEST:
                reader.miss(Missing(GapReason.STORE))
        tail.downstream.release_head()

    # Private.

    def _values(self, kind: TemplateKind, name: str) -> Sequence[bytes]:
        """All values that the request has for one place of a template."""
        inbound = self._request.inbound
        match kind:
            case TemplateKind.AUTH:
                value = self._request.identity.get(name)
                return () if value is None else (value,)
            case TemplateKind.COOKIE:
                return tuple(cookie_values(inbound.headers, name))
            case TemplateKind.HEADER:
                field, authorize = name.lower().encode(), self._route.authorize
                if authorize is not None and as_in_cgi(field) in authorize.taken:
                    return ()  # what the client says in it counts no more here than it would upstream
                return inbound.fields.get(field, ())
            case TemplateKind.QUERY:
                return parameters(inbound.target.partition("?")[2], name)

    def _response_fields(self) -> Headers:
        """The fields of an event stream that no cache may keep, by the rules of the route."""
        fields: Headers = [(b"Content-Type", EVENT_STREAM.media_types[0]), (b"Cache-Control", b"no-store")]
        head = with_request_id(EVENT_STREAM.head(fields, decoded=False), self._tail.record.request_id)
        head = apply_rules(head, self._route.response_headers)
        return self._request.inbound.for_caches(head, self._route)
