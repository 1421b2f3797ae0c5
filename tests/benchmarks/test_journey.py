"""Does a GET still go its short way, from the client's connection to the write to the upstream?"""

from benchmarks.journey import Journey, travel

#: Modules of features that are off for a plain GET along a route with nothing but an upstream.
_OFF = {
    "core/http/accept",
    "core/http/paths",
    "core/http/via",
    "engine/access",
    "proxy/body",
    "proxy/early",
    "proxy/eventsource/cors_guard",
    "proxy/eventsource/route_ends",
    "proxy/eventsource/ticket_paths",
    "proxy/eventsource/tickets",
    "proxy/notices",
    "proxy/request_fields",
    "proxy/tunnel",
}


async def test_the_way_of_a_get() -> None:
    """The figures are those that were reached: a lower one may be written here, a higher one needs a reason."""
    journey = await travel()
    assert journey.is_over
    assert len(journey.calls) <= 75, _shown(journey)
    assert len(journey.rooms) <= 22, journey.rooms  # what pauses reading has a module of its own
    assert journey.returns <= 26, _shown(journey)


async def test_a_get_enters_no_feature_that_is_off() -> None:
    assert _OFF.isdisjoint((await travel()).rooms)


def _shown(journey: Journey) -> str:
    return "\n".join(f"{room} {function}" for room, function in journey.calls)
