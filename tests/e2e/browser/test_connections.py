"""Does an `EventSource` connect, follow, reconnect, give up and leave through sseproxy as it does without it?"""

import gzip
import zlib

import pytest

from tests.e2e.browser.pages import AGAIN, CLOSED, OPEN, Page, message
from tests.e2e.browser.stage import STREAM, Answer, End
from tests.e2e.browser.stories import QUICK

_ONE = QUICK + b"id: 1\ndata: 1\n\n"


def _redirect(status: int, location: str) -> Answer:
    return Answer(status=f"{status} Elsewhere", fields=(f"Location: {location}", "Access-Control-Allow-Origin: *"))


def _with(*fields: str, pieces: tuple[bytes, ...] = (_ONE,)) -> Answer:
    return Answer(pieces, fields=(STREAM, *fields))


# Requests.


def test_the_request_is_the_browsers_own(page: Page) -> None:
    page.stage.play("/fields", Answer((_ONE,)))
    page.open("/fields?a=1&b=%20+;#not-sent")
    page.over()
    first, second = page.stage.requests("/fields")
    assert first.target == second.target == "/fields?a=1&b=%20+;"
    wanted = ("accept", "cache-control", "cookie", "origin", "last-event-id")
    assert [[request.fields.get(name) for name in wanted] for request in (first, second)] == [
        ["text/event-stream", "no-cache", "token=s3cret", None, None],
        ["text/event-stream", "no-cache", "token=s3cret", None, "1"],
    ]


def test_a_long_reconnection_time_is_kept(page: Page) -> None:
    """The other one comes back many times before it, though both ended at the same moment."""
    page.stage.play("/patient", Answer((b"retry: 600000\n\n",)))
    page.stage.play("/eager", *(Answer((QUICK,)) for _ in range(5)))
    page.open("/patient", name="patient")
    page.open("/eager", name="eager")
    assert page.over("eager") == [*[OPEN, AGAIN] * 5, CLOSED]
    assert page.log("patient") == [OPEN, AGAIN]
    assert len(page.stage.requests("/patient")) == 1
    page.close("patient")


def test_a_reconnection_time_is_waited_for(page: Page) -> None:
    page.stage.play("/waits", Answer((b"retry: 500\n\n",)))
    page.open("/waits")
    assert page.over() == [OPEN, AGAIN, CLOSED]
    _, ended, closed = page.times()
    assert closed - ended >= 490  # the browser's clock is a little coarse


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(page: Page, status: int) -> None:
    """Chromium comes back to where it was led, whatever the status."""
    path = f"/redirect-{status}"
    there = f"{path}/there?x=1"
    page.stage.play(path, _redirect(status, there), Answer((_ONE,)), Answer((b"data: 2\n\n",)))
    page.open(path)
    assert page.over() == [OPEN, message("1", "1"), AGAIN, OPEN, message("2", "1"), AGAIN, CLOSED]
    asked = [(request.target, request.last_event_id) for request in page.stage.requests(path)]
    assert asked == [(path, None), (there, None), (there, "1"), (there, "1")]


def test_a_redirect_to_another_origin_is_the_events_origin(page: Page) -> None:
    page.stage.play("/leaves", _redirect(302, "{other}/leaves/there"), _with("Access-Control-Allow-Origin: *"))
    page.open("/leaves")
    assert page.over() == [OPEN, [*message("1", "1"), "other"], AGAIN, CLOSED]


def test_a_redirect_to_another_origin_that_does_not_agree_fails(page: Page) -> None:
    page.stage.play("/strays", _redirect(302, "{other}/strays/there"), Answer((_ONE,), heartbeats=0))
    page.open("/strays")
    assert page.over() == [CLOSED]


def test_a_redirect_to_what_is_no_stream_fails(page: Page) -> None:
    page.stage.play("/ends-up", _redirect(307, "/ends-up/there"), Answer((_ONE,), status="404 No", heartbeats=0))
    page.open("/ends-up")
    assert page.over() == [CLOSED]


def test_a_redirect_to_204_ends_it(page: Page) -> None:
    page.stage.play("/stops", _redirect(302, "/stops/there"))
    page.open("/stops")
    assert page.over() == [CLOSED]
    assert len(page.stage.requests("/stops")) == 2


# Other origins. What the service itself says about them goes through.

_ORIGIN, _ANY = "Access-Control-Allow-Origin: {here}", "Access-Control-Allow-Origin: *"
_CREDENTIALS = "Access-Control-Allow-Credentials: true"


@pytest.mark.parametrize(
    ("fields", "credentials"),
    [((_ANY,), False), ((_ORIGIN,), False), ((_ORIGIN, _CREDENTIALS), True), ((_ANY, _CREDENTIALS), False)],
    ids=["any", "named", "with credentials", "any, credentials not asked for"],
)
def test_another_origin_that_agrees(page: Page, fields: tuple[str, ...], credentials: bool) -> None:
    page.stage.play("/cors", _with(*fields), Answer(status="204 No Content", fields=fields))
    page.open("{other}/cors", credentials=credentials)
    assert page.over() == [OPEN, message("1", "1"), AGAIN, CLOSED]
    requests = page.stage.requests("/cors")
    assert [(request.method, request.last_event_id) for request in requests] == [("GET", None), ("GET", "1")]
    assert {request.fields.get("origin") for request in requests} == {page.way.here}
    assert {request.fields.get("cookie") for request in requests} == {"token=s3cret" if credentials else None}


@pytest.mark.parametrize(
    ("fields", "credentials"),
    [((), False), (("Access-Control-Allow-Origin: {other}",), False), ((_ORIGIN,), True), ((_ANY, _CREDENTIALS), True)],
    ids=["says nothing", "names another", "no credentials", "any with credentials"],
)
def test_another_origin_that_does_not_agree(page: Page, fields: tuple[str, ...], credentials: bool) -> None:
    page.stage.play("/no-cors", Answer((_ONE,), fields=(STREAM, *fields), heartbeats=0))
    page.open("{other}/no-cors", credentials=credentials)
    assert page.over() == [CLOSED]
    assert len(page.stage.requests("/no-cors")) == 1


# The one difference.


def test_a_service_that_does_not_answer_is_a_status_with_a_proxy_in_between(page: Page) -> None:
    """A browser tries again what has no answer at all. A proxy has to say something, and a 502 is final."""
    page.stage.play("/restarts", Answer((_ONE,)), *[Answer(end=End.NOTHING)] * 2, Answer((b"data: 2\n\n",)))
    page.open("/restarts")
    first = [OPEN, message("1", "1"), AGAIN]
    if page.way.tapped:
        assert page.over() == [*first, CLOSED]
    else:
        log = page.over()
        assert (log[:3], log[-4:]) == (first, [OPEN, message("2", "1"), AGAIN, CLOSED])


# Leaving.


def test_closing_before_the_response_closes_the_service(page: Page) -> None:
    page.stage.play("/waiting", Answer(end=End.SILENT))
    page.open("/waiting")
    page.stage.wait_for_requests("/waiting", 1)
    assert (page.ready_state(), page.log()) == (0, [])
    page.close()
    page.stage.wait_until_left("/waiting")
    assert (page.ready_state(), page.log()) == (2, [])
    assert len(page.stage.requests("/waiting")) == 1


def test_closing_between_two_events_closes_the_service(page: Page) -> None:
    page.stage.play("/leaving", Answer((_ONE,), End.HELD))
    page.open("/leaving", closeAfter=1)
    assert page.over() == [OPEN, message("1", "1")]
    page.stage.wait_until_left("/leaving")
    assert (page.ready_state(), page.log()) == (2, [OPEN, message("1", "1")])
    assert len(page.stage.requests("/leaving")) == 1


def test_nothing_comes_after_closing_in_the_middle_of_many(page: Page) -> None:
    many = b"".join(b"data: %d\n\n" % number for number in range(100))
    page.stage.play("/many", Answer((many,), End.HELD))
    page.open("/many", closeAfter=3)
    page.stage.wait_until_left("/many")
    assert page.log() == [OPEN, message("0"), message("1"), message("2")]


def test_leaving_the_page_closes_the_service(page: Page) -> None:
    page.stage.play("/page-left", Answer((_ONE,), End.HELD))
    page.open("/page-left")
    page.stage.wait_for_requests("/page-left", 1)
    page.load()
    page.stage.wait_until_left("/page-left")


# Bodies.


def test_a_compressed_stream_is_told_the_same(page: Page) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    pieces = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in (_ONE, b"data: ", b"2\n\n")]
    page.stage.play("/gzip", _with("Content-Encoding: gzip", pieces=(*pieces, packer.flush())))
    page.open("/gzip")
    assert page.over() == [OPEN, message("1", "1"), message("2", "1"), AGAIN, CLOSED]


def test_what_is_no_stream_is_not_touched(page: Page) -> None:
    body = gzip.compress(b"data: 1\n\n: heartbeat\n\n" * 100)
    page.stage.play(
        "/plain", Answer((body,), fields=("Content-Type: text/plain", "Content-Encoding: gzip"), heartbeats=0)
    )
    read = page.run("return await (await fetch('/plain')).text()")
    assert read == "data: 1\n\n: heartbeat\n\n" * 100


def test_six_at_a_time(page: Page) -> None:
    """On HTTP/1.1 the seventh connection to a host waits; that is the browser's rule, and no proxy can change it."""
    page.stage.play("/crowd", *[Answer((b"data: 1\n\n",), End.HELD, heartbeats=0)] * 7)
    for number in range(7):
        page.open(f"/crowd?{number}", name=f"{number}")
    page.stage.wait_for_requests("/crowd", 6)
    page.run(
        "await Promise.all([0, 1, 2, 3, 4, 5].map(async (name) => {"
        " while (watched[name].log.length < 2) await new Promise(requestAnimationFrame); }))"
    )
    assert (page.log("6"), len(page.stage.requests("/crowd"))) == ([], 6)
    page.close("0")
    page.stage.wait_for_requests("/crowd", 7)
    for number in range(1, 7):
        page.close(f"{number}")
    page.stage.wait_until_left("/crowd", 7)
