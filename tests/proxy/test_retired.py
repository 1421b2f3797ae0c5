"""Of which routes that are gone are tickets looked for, and for how long?"""

from dataclasses import replace

from sseproxy.core.eventsource.policies import Reopen, TicketBinding, TicketPolicy
from sseproxy.core.routes import Route, Upstream
from sseproxy.proxy.eventsource.retired import RetiredRoutes

UPSTREAM = Upstream("http", "a.test", 80)
ROUTE = Route("a", UPSTREAM, tickets=TicketPolicy(ttl=100.0))
PLAIN = Route("plain", UPSTREAM)


def test_a_route_that_is_gone_stays_for_its_tickets() -> None:
    retired = RetiredRoutes()
    retired.leave(ROUTE, now=10.0)
    assert retired.beside([PLAIN], now=109.0) == (ROUTE,)
    assert retired.next_end([PLAIN]) == 110.0
    assert retired.beside([PLAIN], now=110.0) == ()
    assert retired.next_end([PLAIN]) is None


def test_one_that_is_there_is_not_gone() -> None:
    retired = RetiredRoutes()
    changed = replace(ROUTE, upstream=Upstream("http", "b.test", 80))
    retired.leave(ROUTE, now=10.0)
    assert retired.beside([changed], now=11.0) == ()
    retired.leave(changed, now=20.0)
    assert retired.beside([PLAIN], now=21.0) == (changed,), "as it last was"


def test_tickets_that_are_found_in_another_way_keep_their_route() -> None:
    ways = [
        replace(ROUTE, name="b"),
        replace(ROUTE, tickets=TicketPolicy(path="/elsewhere")),
        replace(ROUTE, tickets=TicketPolicy(bind=TicketBinding.ADDRESS)),
        replace(ROUTE, tickets=TicketPolicy(bind=TicketBinding.COOKIE, bind_cookie="sid")),
        replace(ROUTE, tickets=None),
    ]
    for other in ways:
        retired = RetiredRoutes()
        retired.leave(ROUTE, now=10.0)
        assert retired.beside([other], now=11.0) == (ROUTE,)


def test_an_open_ticket_keeps_its_route_and_lives_on_behind_it() -> None:
    retired = RetiredRoutes()
    retired.opened(ROUTE)
    retired.opened(ROUTE)
    retired.leave(ROUTE, now=10.0)
    assert retired.beside([PLAIN], now=5000.0) == (ROUTE,)
    retired.ended(ROUTE, now=5000.0)
    assert retired.beside([PLAIN], now=9000.0) == (ROUTE,), "one is still open"
    retired.ended(ROUTE, now=9000.0)
    assert retired.beside([PLAIN], now=9099.0) == (ROUTE,)
    assert retired.beside([PLAIN], now=9100.0) == ()


def test_the_longest_terms_hold() -> None:
    retired = RetiredRoutes()
    retired.leave(ROUTE, now=10.0)
    short = replace(ROUTE, tickets=TicketPolicy(ttl=1.0, reopen=Reopen.ALWAYS))
    retired.leave(short, now=20.0)
    assert retired.beside([PLAIN], now=109.0) == (short,)


def test_a_ticket_that_ends_is_remembered_for_a_minute_at_least() -> None:
    retired = RetiredRoutes()
    once = replace(ROUTE, tickets=TicketPolicy(ttl=1.0))
    retired.leave(once, now=0.0)
    assert retired.beside([PLAIN], now=59.0) == (once,)
    assert retired.beside([PLAIN], now=60.0) == ()
