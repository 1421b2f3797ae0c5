"""What holds for new requests: which routes are there, and what is done about a request of each?"""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from sseproxy.core.frozen import frozen
from sseproxy.core.routes import Route
from sseproxy.engine.observer import AccessRecord
from sseproxy.http1.requests import ParsedRequest
from sseproxy.http1.treatment import ResponseTreatment
from sseproxy.proxy.dispatch import Dispatcher, Work
from sseproxy.proxy.eventsource.tickets import TicketService
from sseproxy.proxy.notices import ForwardingNotice
from sseproxy.proxy.origins import Origins
from sseproxy.proxy.port import ClientConnection
from sseproxy.proxy.resolve import Resolution, Resolver
from sseproxy.proxy.tail import ResponseTail

if TYPE_CHECKING:
    from sseproxy.proxy.journal.service import JournalService


@frozen
class Routing:
    """All that one configuration says about requests.

    A value: a reload makes another one, and puts it in the place of this one with one assignment. A request takes the
    routing that is there when it comes, and goes on with it, for hours if it is a stream.

    origins: where its routes lead. resolve: decides what a request wants (`Resolver`). begin: answers it at once, or
    returns what serves it (`Dispatcher`).
    """

    origins: Origins
    resolve: Callable[[ParsedRequest, ClientConnection, ResponseTreatment, AccessRecord], Resolution]
    begin: Callable[[Resolution, ResponseTail], Work | None]


@frozen
class RoutingFactory:
    """Makes the routings of one proxy. What is here outlives them all.

    end_key, instance: see `ProxyApp`. notice: a warning that is given once, whatever is reloaded.
    """

    tickets: TicketService
    end_key: bytes
    instance: bytes
    notice: ForwardingNotice

    def new(
        self,
        routes: Sequence[Route],
        origins: Origins,
        trusted_proxies: Sequence[IPv4Network | IPv6Network],
        journal: "JournalService | None",
    ) -> Routing:
        """Make what holds for `routes`. The tickets have to know these routes already."""
        resolver = Resolver(
            routes,
            trusted_proxies=trusted_proxies,
            tickets=self.tickets.paths,
            instance=self.instance,
            notice=self.notice,
            retired=() if journal is None else journal.retired,
        )
        dispatcher = Dispatcher(
            routes, origins, self.tickets, end_key=self.end_key, instance=self.instance, journal=journal
        )
        return Routing(origins, resolver.resolve, dispatcher.begin)
