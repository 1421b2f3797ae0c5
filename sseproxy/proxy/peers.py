"""Which address does a request come from, and is the one that says so trusted?"""

import functools
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from sseproxy.core.http.fields import Headers, Peer, forwarded_addresses
from sseproxy.http1.server import DownstreamConnection

#: Addresses of which it is remembered whether they are trusted.
_KNOWN_ADDRESSES = 4096


class Peers:
    """Knows which proxies are trusted: those in `networks`."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._is_trusted = functools.lru_cache(maxsize=_KNOWN_ADDRESSES)(self._is_in_network)
        self._networks = tuple(networks)

    def of(self, connection: DownstreamConnection) -> Peer:
        """Return who is connected, and note it on the connection: it never changes.

        A peer on a unix socket is trusted, unless its listener says otherwise: the file's mode decides who connects.
        """
        address = connection.client_address
        is_trusted = connection.is_trusted or self._is_trusted(address)
        connection.peer = Peer(address, connection.scheme, is_trusted)
        return connection.peer

    def client_behind(self, peer: Peer, headers: Headers) -> str:
        """Return the nearest address that is not one of the trusted proxies: the client, as far as can be known."""
        known = peer.address or "unix"
        for address in reversed(forwarded_addresses(headers) if peer.trusted else []):
            if _address(address) is None:
                break
            known = address
            if not self._is_trusted(address):
                break
        return known

    def _is_in_network(self, address: str) -> bool:
        found = _address(address.partition("%")[0])
        return found is not None and any(found in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
