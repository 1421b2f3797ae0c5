"""Which parts of a configuration can be used, and are dangerous or will surprise? (contract section 4)

Like `checks`, but for a configuration without errors: each function adds to `Document.warnings`.
"""

import stat
from ipaddress import ip_address

from sseproxy.config import files
from sseproxy.config.addresses import Address, IPNetwork
from sseproxy.config.changed_defaults import warn_of_changed_defaults
from sseproxy.config.checks import ADMIN_LISTEN, DRAIN_TIMEOUT, LISTEN
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.problems import Path
from sseproxy.config.schema import FileSchema
from sseproxy.config.values import format_duration
from sseproxy.core.eventsource.policies import TicketBinding

TRUSTED: Path = ("server", "trusted_proxies")

#: Seconds that Kubernetes grants a pod by default, from SIGTERM to SIGKILL, and those that the process needs of them
#: once its last stream has ended.
GRACE_PERIOD = 30.0
RESERVE = 5.0

#: The shortest prefixes that are no warning: those of 10.0.0.0/8 and fc00::/7, the largest private networks.
_BROAD_BELOW = {4: 8, 6: 7}


def warn(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    """All warnings. `file` has passed all checks."""
    _warn_of_sockets(document, file.server.listen)
    _warn_of_trust(document, file.server.trusted_proxies)
    _warn_of_drain(document, file.server.drain.timeout)
    if file.admin is not None and file.admin.listen is not None:
        _warn_of_admin(document, file.admin.listen)
    for route in routes:
        _warn_of_tls(document, route)
        _warn_of_unbound_tickets(document, route)
    warn_of_changed_defaults(document, file, routes)


def _warn_of_sockets(document: Document, listen: tuple[Address, ...]) -> None:
    for index, address in enumerate(listen):
        anybody = address.mode is None or address.mode & stat.S_IWOTH
        if address.path is not None and address.trust and anybody and files.opens_to_all(address.path):
            message = "everybody on this machine reaches this folder, and who connects is believed as a proxy"
            hint = 'a folder of its own under /run, or mode: "0660", or trust: false'
            document.warning(document.shown((*LISTEN, index)), message, hint)


def _warn_of_trust(document: Document, networks: tuple[IPNetwork, ...]) -> None:
    for index, network in enumerate(networks):
        if network.prefixlen < _BROAD_BELOW[network.version]:
            message = f"{network} trusts strangers: any of them may name another client, scheme and host"
            document.warning(document.shown((*TRUSTED, index)), message, "the addresses of your gateway")


def _warn_of_drain(document: Document, timeout: float | None) -> None:
    if timeout is None or timeout > GRACE_PERIOD - RESERVE:
        said = "waits for the last stream" if timeout is None else f"{format_duration(timeout)} is a long time"
        message = f"{said}: Kubernetes kills a pod {format_duration(GRACE_PERIOD)} after SIGTERM by default"
        needed = "" if timeout is None else f" to {format_duration(timeout + RESERVE)}"
        document.warning(DRAIN_TIMEOUT, message, f"raise terminationGracePeriodSeconds{needed}")


def _warn_of_admin(document: Document, listen: Address) -> None:
    if not _is_loopback(listen):
        message = f"{listen} can be reached from other machines"
        document.warning(ADMIN_LISTEN, message, f"127.0.0.1:{listen.port}, or let the network keep strangers out")


def _is_loopback(address: Address) -> bool:
    if address.path is not None or address.host == "localhost":
        return True
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return False


def _warn_of_tls(document: Document, route: EffectiveRoute) -> None:
    tls = route.section.tls
    if tls is not None and not tls.verify:
        message = "anybody on the way to the upstream can read and change everything"
        document.warning(route.own("tls", "verify"), message, "name its authority: ca")


def _warn_of_unbound_tickets(document: Document, route: EffectiveRoute) -> None:
    tickets, auth = route.merged.tickets, route.merged.auth
    if tickets is None or auth is None or tickets.bind[0] is not TicketBinding.NONE:
        return
    message = "with auth: who learns the URL of a ticket gets an answer in the name of the user who is logged in"
    document.warning(route.where("tickets", "bind"), message, f"bind: cookie:{auth.cookie}")
