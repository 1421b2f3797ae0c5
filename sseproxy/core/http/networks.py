"""Who is one client, as far as an address tells, and which neighbours may belong to the same hands?"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: Bits of the networks of an IPv6 address, from the client's own to the widest. A machine has a whole /64 to take
#: addresses from (RFC 4291 section 2.5.4), and a site a /56 or /48 (RFC 6177).
_BITS = (64, 48)


def client_key(address: str) -> str:
    """What all addresses of one client have in common: of IPv6 its /64, written in one way; of IPv4 the address.

    An IPv4 address in the form of IPv6 is IPv4. What is no address, such as ``unix``, stands for itself.
    """
    return networks(address)[0]


def networks(address: str) -> tuple[str, ...]:
    """`client_key`, and for IPv6 the /48 around it."""
    if ":" not in address:
        return (address,)
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return (address,)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if isinstance(found, IPv4Address):
        return (str(found),)
    return tuple(str(IPv6Network((int(found), bits), strict=False)) for bits in _BITS)
