"""Which addresses are one client, and which are neighbours?"""

import pytest

from sseproxy.core.http.networks import client_key, networks


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unix", "unix"),
        ("", ""),
        ("not.an.address", "not.an.address"),
        ("12:34", "12:34"),
    ],
)
def test_what_one_client_has_in_common(address: str, key: str) -> None:
    assert client_key(address) == key


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("192.0.2.77", ("192.0.2.77",)),
        ("::ffff:192.0.2.77", ("192.0.2.77",)),
        ("2001:db8:1:2:3::4", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("unix", ("unix",)),
    ],
)
def test_networks_from_the_client_to_the_widest(address: str, found: tuple[str, ...]) -> None:
    assert networks(address) == found


def test_a_delegated_network_is_many_clients_and_one_neighbourhood() -> None:
    """A /56, as providers give it to a household."""
    addresses = [f"2001:db8:1:ff{number:02x}::1" for number in range(256)]
    assert len({client_key(address) for address in addresses}) == 256
    assert len({networks(address)[-1] for address in addresses}) == 1
