"""Is an id recognized wherever it stands, and is the answer to a ticket harmless in a browser?"""

import pytest

from sseproxy.core.eventsource.ticket_ids import (
    is_for_script,
    is_ticket_id,
    masked,
    names_ticket,
    opened_answer,
    ticket_id,
)

ID = ticket_id(bytes(range(16)))


def test_an_id_holds_all_of_its_random_bytes() -> None:
    assert ID == "tkt_AAECAwQFBgcICQoLDA0ODw"
    assert ticket_id(b"\xff" * 16) == "tkt_" + "_" * 21 + "w"
    assert is_ticket_id(ID)


@pytest.mark.parametrize("text", ["", ID[:-1], ID + "A", ID[4:], "TKT_" + ID[4:], ID + "\n", "tkt-" + ID[4:], "/" + ID])
def test_what_is_no_id(text: str) -> None:
    assert not is_ticket_id(text)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (f"/{ID}", True),
        (f"//{ID}", True),
        (f"/./{ID}/", True),
        (f"/%2E/{ID}", True),
        (f"/a/{ID}", False),
        (f"/{ID}/a", False),
        (f"/{ID}{ID}", False),
        ("/", False),
        ("", False),
    ],
)
def test_a_path_that_is_nothing_but_an_id(path: str, names: bool) -> None:
    assert names_ticket(path) is names


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        (f"/_tickets/{ID}", "/_tickets/-"),
        (f"/_tickets/{ID}/x", "/_tickets/-/x"),
        (f"/{ID}?a={ID}", "/-?a=-"),
        (f"/x{ID}", "/x-"),
        (f"/{ID[:-6]}", "/-"),
        (f"/{ID.upper()}", "/-"),
        (f"/%74%6b{ID[2:]}", "/-"),
        (f"/%54kt%5F%41%41{ID[6:]}", "/-"),
        ("/tkt_short", "/tkt_short"),
        ("/tickets/AAECAwQFBgcICQoLDA0ODw", "/tickets/AAECAwQFBgcICQoLDA0ODw"),
    ],
)
def test_ids_are_masked_in_whatever_spelling(text: str, logged: str) -> None:
    assert masked(text) == logged


def test_a_client_that_says_nothing_is_a_script() -> None:
    assert is_for_script([(b"Accept", b"text/html")])


def test_a_stream_is_a_stream_and_never_stored() -> None:
    stream = (b"Content-Type", b"text/event-stream; charset=utf-8")
    assert opened_answer([stream]) == [stream, (b"Cache-Control", b"no-store")]
    assert opened_answer([stream, (b"cache-control", b"no-store, x")]) == [stream, (b"Cache-Control", b"no-store, x")]


def test_records_are_no_page_and_keep_what_is_said_to_gateways() -> None:
    records = [(b"Content-Type", b"application/x-ndjson"), (b"Set-Cookie", b"a=b"), (b"Cache-Control", b"no-transform")]
    assert opened_answer(records) == [
        records[0],
        (b"Cache-Control", b"no-transform, no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Security-Policy", b"sandbox"),
    ]


def test_whatever_else_is_no_page() -> None:
    answer = [(b"X-A", b"1"), (b"Set-Cookie", b"a=b"), (b"SET-COOKIE", b"c=d"), (b"Cache-Control", b"public")]
    assert opened_answer(answer) == [
        (b"X-A", b"1"),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Security-Policy", b"sandbox"),
    ]
