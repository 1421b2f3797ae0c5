"""Which parts of a configuration can be used, and are dangerous or will surprise?

Like `checks`, but for a configuration without errors: each function adds to `Document.warnings`.
"""

import stat
from dataclasses import dataclass

from sseproxy.config import files
from sseproxy.config.addresses import Address, IPNetwork
from sseproxy.config.changed_defaults import warn_of_changed_defaults
from sseproxy.config.checks import ADMIN_LISTEN, DRAIN_DELAY, DRAIN_TIMEOUT, LISTEN
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.json_warnings import warn_of_idle_json
from sseproxy.config.problems import Path
from sseproxy.config.push import RedisSection
from sseproxy.config.push_checks import is_made_by_clients
from sseproxy.config.push_values import is_redis, shows_password
from sseproxy.config.schema import FileSchema
from sseproxy.config.values import format_duration
from sseproxy.core.eventsource.policies import Reopen, TicketBinding

TRUSTED: Path = ("server", "trusted_proxies")

#: Seconds that Kubernetes grants a pod by default, from SIGTERM to SIGKILL, and those that the process needs of them
#: once its last stream has ended.
GRACE_PERIOD = 30.0
RESERVE = 5.0

#: The shortest prefixes that are no warning: those of 10.0.0.0/8 and fc00::/7, the largest private networks.
_BROAD_BELOW = {4: 8, 6: 7}


def warn(document: Document, file: FileSchema, routes: tuple[EffectiveRoute, ...]) -> None:
    """All warnings. `file` has passed all checks."""
    warnings = Warnings(document)
    warnings.of_sockets(file.server.listen)
    warnings.of_trust(file.server.trusted_proxies)
    warnings.of_drain(file.server.drain.delay or 0.0, file.server.drain.timeout)
    if file.admin is not None and file.admin.listen is not None:
        warnings.of_admin(file.admin.listen)
    for route in routes:
        warnings.of_tls(route)
        warnings.of_unbound_tickets(route)
        warnings.of_remembered_logins(route)
        warn_of_idle_json(document, route)
        if route.section.redis is not None:
            warnings.of_redis(route.own("redis"), route.section.redis)
            warnings.of_spent_tickets(route)
    warnings.of_store(file.store.url, routes)
    if any(route.section.journal is not None for route in routes):
        from sseproxy.config.journal_warnings import warn_of_journals  # noqa: PLC0415 - only where there is one

        warn_of_journals(document, routes)
    elif file.store.file is not None:
        document.warning(("store", "file"), "no route has a journal", "leave it out")
    warn_of_changed_defaults(document, file, routes)


@dataclass(slots=True, eq=False)
class Warnings:
    """What one file is warned of."""

    document: Document

    def of_sockets(self, listen: tuple[Address, ...]) -> None:
        """Warn of a trusted unix socket in a folder where any user may put files."""
        for index, address in enumerate(listen):
            is_open = address.mode is None or address.mode & stat.S_IWOTH
            if address.path is not None and address.trust and is_open and files.opens_to_all(address.path):
                message = "everybody on this machine reaches this folder, and who connects is believed as a proxy"
                hint = 'a folder of its own under /run, or mode: "0660", or trust: false'
                self.document.warning(self.document.shown((*LISTEN, index)), message, hint)

    def of_trust(self, networks: tuple[IPNetwork, ...]) -> None:
        """Warn of a network that is larger than any private one."""
        for index, network in enumerate(networks):
            if network.prefixlen < _BROAD_BELOW[network.version]:
                message = f"{network} trusts strangers: any of them may name another client, scheme and host"
                self.document.warning(self.document.shown((*TRUSTED, index)), message, "the addresses of your gateway")

    def of_drain(self, delay: float, timeout: float | None) -> None:
        """Warn of a drain that an orchestrator would cut short."""
        granted = f"Kubernetes kills a pod {format_duration(GRACE_PERIOD)} after SIGTERM by default"
        if timeout is None:
            message, hint = f"waits for the last stream: {granted}", "raise terminationGracePeriodSeconds"
            self.document.warning(DRAIN_TIMEOUT, message, hint)
        elif delay + timeout > GRACE_PERIOD - RESERVE:
            added = f"with drain.timeout ({format_duration(timeout)}) " if delay else ""
            message = f"{added}{format_duration(delay + timeout)} is a long time: {granted}"
            hint = f"raise terminationGracePeriodSeconds to {format_duration(delay + timeout + RESERVE)}"
            self.document.warning(DRAIN_DELAY if delay else DRAIN_TIMEOUT, message, hint)

    def of_admin(self, listen: Address) -> None:
        """Warn of an admin listener that is not on this machine alone."""
        if not listen.is_loopback:
            message = f"{listen} can be reached from other machines"
            self.document.warning(
                ADMIN_LISTEN, message, f"127.0.0.1:{listen.port}, or let the network keep strangers out"
            )

    def of_tls(self, route: EffectiveRoute) -> None:
        """Warn of an upstream or a service that is not verified."""
        authorize = route.section.authorize
        for keys, tls in (("tls",), route.section.tls), (("authorize", "tls"), authorize.tls if authorize else None):
            if tls is not None and not tls.verify:
                message = "each hop on the way to the upstream can read and change everything"
                self.document.warning(route.own(*keys, "verify"), message, "name its authority: ca")

    def of_unbound_tickets(self, route: EffectiveRoute) -> None:
        """Warn of tickets that log their opener in as the user who made them."""
        tickets, auth = route.merged.tickets, route.merged.auth
        if tickets is None or auth is None or tickets.bind[0] is not TicketBinding.NONE:
            return
        message = "with auth: who learns the URL of a ticket gets an answer in the name of the user who is logged in"
        journal = route.section.journal
        if journal is not None:
            # With a journal a ticket is a run: its login says who may read.
            if not journal.login:
                self.document.warning(route.own("journal", "login"), message, f"login: cookie:{auth.cookie}")
            return
        self.document.warning(route.where("tickets", "bind"), message, f"bind: cookie:{auth.cookie}")

    def of_remembered_logins(self, route: EffectiveRoute) -> None:
        """Warn of a service that is asked once for many requests: it may go by more than the credentials."""
        section = route.section.authorize
        if section is not None and section.cache is not None:
            message = "only credentials are compared: a yes to one request lets in all others of the route"
            hint = "off, if the service goes by X-Original-Method or X-Original-URI"
            self.document.warning(route.own("authorize", "cache"), message, hint)

    def of_redis(self, at: Path, section: RedisSection) -> None:
        """Warn of a permission that nothing needs, and of a password that others could read."""
        if section.unsafe_identity and not is_made_by_clients(section.templates):
            message = "is not needed: no name holds cookie, query or header"
            self.document.warning((*at, "unsafe_identity"), message, "leave it out, so that none can be added unseen")
        self._of_password((*at, "url"), section.url)

    def of_spent_tickets(self, route: EffectiveRoute) -> None:
        """Warn of tickets that are opened once, for a stream that has no end."""
        tickets = route.merged.tickets
        if tickets is not None and tickets.reopen is Reopen.NEVER:
            message = "an EventSource that comes back with its ticket is answered 204, and stops"
            self.document.warning(route.where("tickets", "reopen"), message, "reopen: always")

    def of_store(self, url: str | None, routes: tuple[EffectiveRoute, ...]) -> None:
        """Warn of a password that others could read, and of a Redis that no route is served from."""
        self._of_password(("store", "url"), url)
        in_use = (route.section.redis is not None and route.section.redis.url is None for route in routes)
        if is_redis(url) and not any(in_use):
            self.document.warning(("store", "url"), "no route is served from there", "leave it out")

    def _of_password(self, at: Path, url: str | None) -> None:
        if url is not None and shows_password(url):
            message = "each hop on the way to Redis can read the password, and all messages"
            self.document.warning(at, message, "rediss:// encrypts")
