"""Do durations, sizes, addresses and URLs mean what they say?"""

import ipaddress
from contextlib import suppress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.config import addresses, urls, values
from sseproxy.config.addresses import Address
from sseproxy.config.values import BadValue, UntypedText
from sseproxy.core.routes import Upstream

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.text().map(UntypedText))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (15, 15.0),
        ("15", 15.0),
        ("15s", 15.0),
        ("1.5s", 1.5),
        (1.5, 1.5),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("0.1s", 0.1),
        ("off", None),
        (UntypedText("off"), None),
    ],
)
def test_durations(written: object, seconds: float | None) -> None:
    assert values.duration(written) == seconds


@given(st.one_of(st.none(), st.floats(min_value=0, max_value=values.LONGEST_DURATION)))
def test_a_duration_survives_being_written(seconds: float | None) -> None:
    assert values.duration_or_zero(values.format_duration(seconds)) == seconds


@given(st.integers(1, 500_000), st.sampled_from(["ms", "s", "m"]))
def test_a_written_duration_comes_back_with_the_same_meaning(number: int, unit: str) -> None:
    seconds = values.duration(f"{number}{unit}")
    assert seconds == pytest.approx(number * {"ms": 0.001, "s": 1, "m": 60}[unit])
    assert values.duration(values.format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("written", "size"), [(65536, 65536), ("65536", 65536), ("64KiB", 65536), ("1MiB", 1 << 20), ("2GiB", 1 << 31)]
)
def test_sizes(written: object, size: int) -> None:
    assert values.size(written) == size


@given(st.one_of(st.none(), st.integers(1, 10**14)))
def test_a_size_survives_being_written(count: int | None) -> None:
    assert values.size_or_off(values.format_size(count)) == count


@pytest.mark.parametrize(
    "parse",
    [
        values.duration,
        values.duration_or_zero,
        values.size,
        values.size_or_off,
        values.count_or_off,
        values.boolean,
        values.text,
        values.line,
        values.event_name,
        values.route_name,
        values.file_path,
        values.method,
        values.field_name,
        values.field_value,
        addresses.listen_address,
        urls.upstream_url,
        urls.url_path,
        urls.match_host,
        addresses.network,
    ],
    ids=lambda parse: parse.__name__,
)
def test_whatever_comes_is_read_or_refused(parse: object) -> None:
    assert callable(parse)
    reader = parse

    @given(SCALARS)
    def read(value: object) -> None:
        with suppress(BadValue):
            reader(value)

    read()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        (":8080", Address("", 8080)),
        ("[::1]:8080", Address("::1", 8080)),
        ("[0:0::1]:0", Address("::1", 0)),
        ("Localhost:80", Address("localhost", 80)),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
        ("unix:///run/x.sock", Address(path="/run/x.sock")),
    ],
)
def test_listen_addresses(written: str, address: Address) -> None:
    assert addresses.listen_address(written) == address
    assert addresses.listen_address(str(address)) == address


@pytest.mark.parametrize("pair", list(combinations(["127.0.0.1:1", ":1", "0.0.0.0:1"], 2)), ids=" ".join)
def test_listeners_in_each_others_way(pair: tuple[str, str]) -> None:
    first, second = map(addresses.listen_address, pair)
    assert first.overlaps(second)
    assert second.overlaps(first)


@pytest.mark.parametrize(
    "pair",
    [
        *combinations(["127.0.0.1:1", "127.0.0.2:1", "[::1]:1", "[::1]:2", "unix:/a", "unix:/b"], 2),
        ("0.0.0.0:1", "[::]:1"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ],
    ids=" ".join,
)
def test_listeners_that_go_together(pair: tuple[str, str]) -> None:
    first, second = map(addresses.listen_address, pair)
    assert not first.overlaps(second)
    assert not second.overlaps(first)


@pytest.mark.parametrize(
    ("written", "upstream"),
    [
        ("http://u", Upstream("http", "u", 80)),
        ("HTTPS://Api.Example/", Upstream("https", "api.example", 443)),
        ("http://my_app:9000/v1/", Upstream("http", "my_app", 9000, base_path="/v1")),
        ("http://[::1]:9000/a%2Fb", Upstream("http", "::1", 9000, base_path="/a%2Fb")),
        ("http+unix:///run/app.sock", Upstream("http+unix", socket_path="/run/app.sock")),
        ("http+unix://%2Frun%2Fapp.sock", Upstream("http+unix", socket_path="/run/app.sock")),
        ("http+unix://%2Frun%2Fapp.sock/v1/", Upstream("http+unix", socket_path="/run/app.sock", base_path="/v1")),
    ],
)
def test_upstreams(written: str, upstream: Upstream) -> None:
    assert urls.upstream_url(written) == upstream


def test_a_lone_address_is_a_network() -> None:
    assert addresses.network("127.0.0.1") == ipaddress.ip_network("127.0.0.1/32")
    assert addresses.network("fd00::/8") == ipaddress.ip_network("fd00::/8")


@pytest.mark.parametrize(
    ("written", "host"),
    [("API.example", "api.example"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("10.0.0.1", "10.0.0.1")],
)
def test_hosts_are_compared_as_requests_name_them(written: str, host: str) -> None:
    assert urls.match_host(written) == host


def test_a_password_is_never_repeated() -> None:
    with pytest.raises(BadValue) as caught:
        urls.upstream_url("http://user:secret@u:1")
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
