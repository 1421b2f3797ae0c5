"""Which address does a request come from, and is the one that says so trusted?"""

import functools
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from sseproxy.core.http.fields import Headers, Peer, forwarded_addresses
from sseproxy.http1.server import DownstreamConnection

#: Addresses of which it is remembered whether they are trusted.
_KNOWN_ADDRESSES = 4096


class Peers:
    """Knows the proxies that are trusted. networks: theirs."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._is_trusted = functools.lru_cache(maxsize=_KNOWN_ADDRESSES)(functools.partial(_is_in, tuple(networks)))

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
            if not _is_address(address):
                break
            known = address
            if not self._is_trusted(address):
                break
        return known


def _is_in(networks: Iterable[IPv4Network | IPv6Network], address: str) -> bool:
    try:
        peer = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(peer in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
