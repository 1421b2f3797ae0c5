"""Which options does a proxy inside another server take, and what do they come to?

Names, meanings and defaults are those of the configuration file, of the flags and of the middlewares.
`config/embedded` reads them.
"""

import logging
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from sseproxy.asgi.option_values import Duration
from sseproxy.asgi.options import DrainPolicy, SharedOptions
from sseproxy.config.embedded import read_options
from sseproxy.core.frozen import frozen
from sseproxy.core.routes import Route
from sseproxy.core.store import StorePolicy
from sseproxy.logs import LOGGER

_log = logging.getLogger(LOGGER)

#: A mapping of the configuration file. docs/reference.md has all keys.
Group = Mapping[str, object]


class ProxyOptions(SharedOptions, total=False):
    """What `ReverseProxy` and `reverse_proxy` take beside the upstream.

    Options that routes inherit hold for all of `routes`; each route may override them, in the words of the file.
    """

    connect_timeout: Duration
    """Until the upstream connection stands, TLS included."""

    connect_retry: Duration
    """How long a connection that is refused is tried again."""

    request_body_timeout: Duration
    """From a request's head until the end of its body."""

    stream: str | Group
    """Which requests are for streams, and for which kind of them."""

    limits: Group
    """How much to take: ``streams``, ``streams_per_client``, ``line``, ``request_body``, …"""

    tickets: Group | str | None
    """Requests that are kept until a GET asks for them, as `EventSource` does."""

    auth: Group | str | None
    """A login cookie that becomes a request header."""

    end: Group | str | None
    """What an `EventSource` gets at a clean end of the upstream."""

    cors: Group | str | None
    """Which pages of other origins may read the responses."""

    name: str
    """Of the one route: what the log calls it."""

    match: Group
    """Of the one route: what a request must look like (``path``, ``prefix``, ``methods``, ``host``)."""

    redis: Group
    """Of the one route: streams or channels of Redis, in place of an upstream."""

    journal: Group
    """Of the one route: the events of its streams are kept, to be resumed, shared and stopped."""

    rewrite: Group
    """Of the one route: ``strip_prefix``."""

    headers: Group
    """Of the one route: header fields to set and to remove (``request``, ``response``)."""

    tls: Group
    """Of the one route: how its https upstream is verified, and what it is shown."""

    authorize: Group
    """Of the one route: another service says whether a request may go on."""

    routes: Sequence[Group]
    """In place of the one upstream: routes as in the file; the first that matches wins."""

    trusted_proxies: Sequence[str]
    """Peers whose ``X-Forwarded-*``, ``Forwarded`` and ``Via`` are believed and appended to."""

    store: Group | str
    """What outlives a connection (``url``, ``file``, ``memory``, …); `secret` is its ``secret``."""


@frozen
class ProxySettings:
    """What the options come to. drain: ``None`` if a stop signal changes nothing."""

    routes: Sequence[Route]
    store: StorePolicy
    trusted_proxies: Sequence[IPv4Network | IPv6Network]
    drain: DrainPolicy | None

    @classmethod
    def read(cls, upstream: str | None, options: ProxyOptions) -> "ProxySettings":
        """Read and check all options, and log what is dangerous about them.

        Raises `TypeError` for an option that there is not, and `ValueError` with all that is wrong, one line for each.
        """
        embedded = read_options(upstream, options)
        for warning in embedded.warnings:
            _log.warning(warning)
        config, server = embedded.config, embedded.config.server
        drain = None if server.drain_timeout is None else DrainPolicy(server.drain_timeout, server.drain_spread)
        return cls(config.routes, config.store, server.trusted_proxies, drain)
