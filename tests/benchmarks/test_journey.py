"""Does a GET still go its short way, from the client's connection to the write to the upstream?"""

from benchmarks.journey import Journey, travel

#: Modules of what a plain GET along a route with nothing but an upstream does not need, or not before it has left.
_OFF = {
    "core/http/accept",
    "core/http/paths",
    "core/http/via",
    "engine/access",
    "http1/backlog",
    "http1/leniency",
    "http1/pausing",
    "http1/responses",
    "proxy/authorize",
    "proxy/body",
    "proxy/early",
    "proxy/eventsource/cors_guard",
    "proxy/eventsource/route_ends",
    "proxy/eventsource/ticket_paths",
    "proxy/eventsource/tickets",
    "proxy/notices",
    "proxy/request_fields",
    "proxy/subscribe",
    "proxy/tunnel",
}


async def test_the_way_of_a_get() -> None:
    """The figures are those that were reached: a lower one may be written here, a higher one needs a reason."""
    journey = await travel()
    assert journey.is_over
    # Whether a request may be served, and what serves it, an upstream or Redis, is decided in a room and a call.
    # Another room sends it, so that its opening may outlive its client.
    assert len(journey.calls) <= 71, _shown(journey)
    assert len(journey.rooms) <= 18, journey.rooms
    # An exchange is in the room of its origin, to which two ways lead back: from the connection, and from its base.
    assert journey.returns <= 28, _shown(journey)


async def test_a_get_enters_only_what_it_needs() -> None:
    assert _OFF.isdisjoint((await travel()).rooms)


def _shown(journey: Journey) -> str:
    return "\n".join(f"{room} {function}" for room, function in journey.calls)
