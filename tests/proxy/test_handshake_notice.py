"""What does the log say of clients that cannot agree on TLS, and how often?"""

import logging
import ssl

import pytest

from sseproxy.http1.handshake import HandshakeFailure
from sseproxy.proxy.notices import HandshakeNotice
from tests.support.hand_clock import HandClock

REFUSED = HandshakeFailure("192.0.2.1", "shows no certificate", is_refusal=True)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_refused_clients_are_one_warning_a_minute_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clock = HandClock()
    notice = HandshakeNotice(clock.time)
    for _ in range(3):
        notice.look_at(REFUSED)
    assert warnings(caplog) == ["192.0.2.1 is refused: it shows no certificate (server.tls.client_ca)"]
    assert len(caplog.records) == 4, "and each at debug"
    clock.advance(61)
    caplog.clear()
    notice.look_at(REFUSED)
    notice.look_at(REFUSED)
    (said,) = warnings(caplog)
    assert said.endswith("(server.tls.client_ca); since the last such warning 2 more were refused")


def test_other_failures_are_no_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    HandshakeNotice(HandClock().time).look_at(HandshakeFailure("192.0.2.1", "disconnects"))
    assert [record.getMessage() for record in caplog.records] == ["TLS handshake with 192.0.2.1 failed: it disconnects"]
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionResetError(), "disconnects"),
        (ConnectionAbortedError("SSL handshake is taking longer than 10.0 seconds"), "takes too long"),
        (ssl.SSLError(1, "[SSL] unknown error (_ssl.c:1)"), "breaks the rules of TLS: [SSL] unknown error (_ssl.c:1)"),
    ],
)
def test_each_failure_has_its_words(error: OSError, why: str) -> None:
    assert HandshakeFailure.of("192.0.2.1", error) == HandshakeFailure("192.0.2.1", why)
