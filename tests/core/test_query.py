"""Which values has a parameter of a query?"""

import pytest

from sseproxy.core.http.query import parameters


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", []),
        ("a", [b""]),
        ("a=", [b""]),
        ("a=b", [b"b"]),
        ("b=a&aa=1", []),
        ("a=1&x=y&a=2", [b"1", b"2"]),
        ("a=b=c", [b"b=c"]),
        ("%61=%C3%A4+b%2Bc", ["ä b+c".encode()]),
        ("a=%zz%4", [b"%zz%4"]),
        ("A=1", []),
    ],
)
def test_parameters(query: str, values: list[bytes]) -> None:
    assert parameters(query, "a") == values
