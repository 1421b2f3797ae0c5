"""Which late refusals end the reconnecting of a client, and what is said of them?"""

import pytest

from sseproxy.core.eventsource.end_id import VALID, EndScope
from sseproxy.core.eventsource.end_signer import EndSigner
from sseproxy.core.http.fields import by_name
from sseproxy.core.routes import Route, Upstream
from sseproxy.core.stream.end_message import EndMessage, EndPolicy
from sseproxy.core.stream.error_events import StreamError
from sseproxy.core.stream.late_refusal import LateRefusal, late_refusal
from sseproxy.core.stream.plan import StreamKind
from sseproxy.core.stream.request import StreamRequest

LAST_WORDS = EndMessage(None, "end")
SCOPE = EndScope("r", "GET", b"a.test", "/a")
EVENT_SOURCE = [(b"Accept", b"text/event-stream"), (b"Cache-Control", b"no-cache")]
UPSTREAM = Upstream("http", "127.0.0.1", 1)


@pytest.mark.parametrize("status", [200, 206, 302, 400, 401, 403, 404, 405, 410, 413, 429, 500, 502, 503])
def test_a_status_that_a_client_gets_again_ends_its_stream(status: int) -> None:
    error = StreamError("upstream_response", status, "no")
    is_final = status in (401, 403, 404, 410)
    assert late_refusal(error, lambda: LAST_WORDS) == LateRefusal(error, LAST_WORDS if is_final else None)


def test_a_204_is_no_error_to_a_client_that_comes_back() -> None:
    error = StreamError("upstream_response", 204, "nothing")
    assert late_refusal(error, lambda: LAST_WORDS) == LateRefusal(None, LAST_WORDS)
    assert late_refusal(error, None) == LateRefusal(error)


def test_nothing_is_signed_in_vain() -> None:
    signed: list[EndMessage] = []

    def sign() -> EndMessage:
        signed.append(LAST_WORDS)
        return LAST_WORDS

    assert late_refusal(StreamError("upstream_response", 500, "no"), sign).end_message is None
    assert late_refusal(StreamError("upstream_response", 404, "no"), None).end_message is None
    assert signed == []


@pytest.mark.parametrize(
    ("method", "kind", "end", "fields", "asks"),
    [
        ("GET", StreamKind.AUTO, None, EVENT_SOURCE, True),
        ("GET", StreamKind.ANSWER, None, EVENT_SOURCE, False),
        ("GET", StreamKind.AUTO, EndPolicy(stop_reconnect=True), EVENT_SOURCE, True),
        ("POST", StreamKind.FEED, None, EVENT_SOURCE, False),
        ("GET", StreamKind.AUTO, None, EVENT_SOURCE[:1], False),
        ("GET", StreamKind.AUTO, None, [(b"Accept", b"text/event-stream, */*"), EVENT_SOURCE[1]], False),
        ("GET", StreamKind.AUTO, None, [(b"Mcp-Session-Id", b"1")], True),
    ],
)
def test_who_asks_again(
    method: str, kind: StreamKind, end: EndPolicy | None, fields: list[tuple[bytes, bytes]], asks: bool
) -> None:
    route = Route("r", UPSTREAM, kind=kind, end=end)
    request = StreamRequest(route, method=method, path="/a", query="", fields=by_name(fields))
    assert request.asks_again is asks


class TestSigner:
    def signer(self, key: bytes = b"key", *, now: float = 1_700_000_000.0) -> EndSigner:
        return EndSigner(key, clock=lambda: now, random=bytes)

    def name(self, secret: str = "") -> bytes:
        message = self.signer().message(SCOPE, id_has_event=False, secret=secret)
        assert message.id is not None
        return message.id.encode()

    def test_a_message_says_what_it_is_given(self) -> None:
        message = self.signer().message(SCOPE, event=("end", "bye"), id_has_event=True)
        assert (message.event, message.id_has_event) == (("end", "bye"), True)
        assert self.signer().message(SCOPE, id_has_event=False).event is None

    def test_a_name_is_known_as_it_came_in_its_field(self) -> None:
        assert self.signer().recognises(b" \t" + self.name() + b" ", SCOPE)
        assert not self.signer().recognises(self.name(), EndScope("r", "GET", b"a.test", "/b"))
        assert not self.signer().recognises(self.name() + b"A", SCOPE)

    @pytest.mark.parametrize(("later", "is_known"), [(0, True), (VALID, True), (VALID + 1, False)])
    def test_for_an_hour(self, later: float, is_known: bool) -> None:
        assert self.signer(now=1_700_000_000.0 + later).recognises(self.name(), SCOPE) is is_known

    def test_a_secret_takes_the_place_of_the_key(self) -> None:
        other = self.signer(b"another key")
        assert not other.recognises(self.name(), SCOPE)
        assert other.recognises(self.name("secret"), SCOPE, secret="secret")
        assert not self.signer().recognises(self.name("secret"), SCOPE)
