"""What does `sseproxy probe` print, with which code does it end, and does anything make it fall over?"""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sseproxy.cli import main
from sseproxy.probe.command import probe
from sseproxy.probe.cures import Fault
from sseproxy.probe.origin import serving
from sseproxy.probe.report import Report
from sseproxy.probe.target import read_target
from tests.support.certificates import new_authority, new_certificate
from tests.support.patience import LIMIT
from tests.support.raw_upstream import RawUpstream, Script, Visit, replies_once
from tests.support.sseproxy_process import Output
from tests.support.unreachable import Unreachable

_ROOT = Path(__file__).parents[2]
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_EVENT = b"b\r\ndata: hey\n\n\r\n"
_HEARTBEAT = b"d\r\n: heartbeat\n\n\r\n"
_LAST = b"0\r\n\r\n"


async def reported(script: Script, total: float = 5.0) -> Report:
    """The report on a service that does as `script` says."""
    async with RawUpstream.serve(script) as upstream:
        return await probe(read_target(f"http://127.0.0.1:{upstream.port}/events"), total)


async def test_a_stream_as_it_should_be() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(_CHUNKED)
        for piece in (_HEARTBEAT, _EVENT, _HEARTBEAT, _EVENT, _EVENT):
            await asyncio.sleep(0.1)
            await visit.send(piece)
        await visit.send(_LAST)

    report = await reported(script)
    facts = report.facts
    assert report.findings == (), report.text
    assert (facts["status"], facts["events"], facts["heartbeats"], facts["ending"]) == (200, 3, 2, "clean end")
    assert facts["reads"] == 5
    assert 0.1 <= facts["heartbeat_interval"] < 2
    assert 0.1 <= facts["first_byte_seconds"] < 2
    assert facts["chain"] is None


async def test_the_request_is_as_asked_for_and_sent_once() -> None:
    async with RawUpstream.serve(replies_once(_CHUNKED + _EVENT + _LAST)) as upstream:
        url = f"http://127.0.0.1:{upstream.port}/v1?key=a%20b&x=[1]"
        target = read_target(url, headers=["Authorization: Bearer sk-secret", "accept: */*"], data='{"stream": true}')
        report = await probe(target, 5.0)
    assert len(upstream.visits) == 1
    received = upstream.received
    assert received.startswith(b"POST /v1?key=a%20b&x=[1] HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer sk-secret\r\n" in received
    assert received.lower().count(b"\r\naccept:") == 1
    assert b"\r\nContent-Type: application/json\r\n" in received
    assert received.endswith(b'\r\n\r\n{"stream": true}')
    written = report.text + json.dumps(report.facts) + repr(target.data and report)
    assert "sk-secret" not in written
    assert "a%20b" not in written


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        (_CHUNKED + _EVENT, Fault.BROKEN_OFF),
        (_HEAD + b"\r\ndata: hey\n\n", Fault.HTTP10),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", Fault.ERROR_STATUS),
        (b"HTTP/1.1 504 Gateway Time-out\r\nContent-Length: 0\r\n\r\n", Fault.CUT_BEFORE_HEAD),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", Fault.NOT_A_STREAM),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Fault.NOT_HTTP),
        (b"\x15\x03\x01\x00\x02\x02\x46", Fault.NOT_HTTP),
        (b"", Fault.NO_RESPONSE),
        (_CHUNKED + b"zz\r\n", Fault.BROKEN_OFF),
        (_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", None),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + _CHUNKED + _EVENT + _LAST, None),
    ],
)
async def test_what_a_service_may_answer(response: bytes, fault: Fault | None) -> None:
    report = await reported(replies_once(response))
    assert [finding.fault for finding in report.findings] == ([] if fault is None else [fault]), report.text
    assert json.loads(json.dumps(report.facts))["ok"] is (fault is None)


async def test_a_reset_is_called_so() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(_CHUNKED + _EVENT)
        await asyncio.sleep(0.2)
        visit.reset()

    report = await reported(script)
    assert report.facts["ending"] == "was reset"
    assert [finding.fault for finding in report.findings] == [Fault.BROKEN_OFF]


async def test_a_feed_is_left_when_the_time_is_up() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(_CHUNKED + _EVENT)
        await visit.wait_closed()

    report = await reported(script, total=1.0)
    assert report.findings == ()
    assert "is still open after 1.0 s" in report.text


async def test_events_that_a_service_sends_in_lumps() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(_CHUNKED)
        for _ in range(3):
            await asyncio.sleep(0.7)
            await visit.send(5 * _EVENT)
        await visit.send(_LAST)

    assert [finding.fault for finding in (await reported(script)).findings] == [Fault.LUMPS]


async def test_what_steers_a_terminal_is_not_printed() -> None:
    report = await reported(replies_once(_HEAD + b"Via: 1.1 \xc2\x9b31mred\r\nContent-Length: 0\r\n\r\n"))
    assert "Via" in report.text
    assert all(letter.isprintable() or letter == "\n" for letter in report.text)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"visit": 1, "fields": 2}', b'{"visit": {}, "version": [1]}', b'{"visit": {"ago": "x"}}'],
)
async def test_what_only_pretends_to_be_the_origin(body: bytes) -> None:
    head = b"Sseproxy-Probe: 1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    report = await reported(replies_once(_HEAD + head + body), total=1.0)
    assert report.facts["ok"] is False
    assert "is cut after" in report.text


# What cannot be reached.


async def test_nothing_listens() -> None:
    with Unreachable() as nowhere:
        report = await probe(read_target(nowhere.refusing_url), 5.0)
    assert [(finding.fault, finding.what) for finding in report.findings] == [
        (Fault.UNREACHABLE, "nothing listens there: connection refused")
    ]
    assert report.facts["ok"] is False


async def test_the_name_is_not_found() -> None:
    (finding,) = (await probe(read_target("http://nothing.invalid/"), 5.0)).findings
    assert finding.fault is Fault.UNREACHABLE
    assert "host name was not found" in finding.what


async def test_tls(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    certificate = new_certificate(tmp_path, authority, "loopback", "DNS:localhost,IP:127.0.0.1")
    context: ssl.SSLContext = certificate.server_context()
    async with RawUpstream.serve(replies_once(_CHUNKED + _EVENT + _LAST), tls=context) as upstream:
        url = f"https://127.0.0.1:{upstream.port}/"
        (refused,) = (await probe(read_target(url), 5.0)).findings
        assert refused.fault is Fault.UNREACHABLE
        assert "certificate is not valid" in refused.what
        assert "--insecure" in refused.what
        assert (await probe(read_target(url, insecure=True), 5.0)).findings == ()


async def test_https_where_there_is_none() -> None:
    async def script(visit: Visit) -> None:
        await visit.reader.read(1)
        await visit.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawUpstream.serve(script) as upstream:
        (finding,) = (await probe(read_target(f"https://127.0.0.1:{upstream.port}/"), 5.0)).findings
    assert finding.fault is Fault.UNREACHABLE


async def test_http_where_there_is_tls(tmp_path: Path) -> None:
    certificate = new_certificate(tmp_path, new_authority(tmp_path), "loopback", "IP:127.0.0.1")
    async with RawUpstream.serve(replies_once(_CHUNKED), tls=certificate.server_context()) as upstream:
        (finding,) = (await probe(read_target(f"http://127.0.0.1:{upstream.port}/"), 5.0)).findings
    assert finding.fault in (Fault.NOT_HTTP, Fault.NO_RESPONSE)


# The command line.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a URL is needed, or --serve"),
        (["ftp://x/"], "begins with http:// or https://"),
        (["chat.example"], "begins with http:// or https://"),
        (["http://"], "begins with http:// or https://"),
        (["http://x:99999/"], "no URL"),
        (["http://[::1/"], "no URL"),
        (["http://a..b/"], "no host name"),
        (["http://user:sk-secret@x/"], "use --header"),
        (["http://x/", "--header", "sk-secret"], "expected --header 'Name: value'"),
        (["http://x/", "--header", "A: sk-secret\r\nB: c"], "expected --header 'Name: value'"),
        (["http://x/", "--header", "Content-Length: 3"], "the probe's own"),
        (["http://x/", "--method", "G T"], "no request method"),
        (["http://x/", "--for", "soon"], "argument --for: "),
        (["http://x/", "--for", "off"], "argument --for: "),
        (["http://x/", "--for", "2h"], "between 1s and 1h"),
        (["http://x/", "--listen", ":9000"], "--listen belongs to --serve"),
        (["--serve", "http://x/"], "--serve takes no URL"),
        (["--serve", "--json"], "--serve takes no --json"),
        (["--serve", "--listen", "9000"], "argument --listen: expected HOST:PORT"),
        (["--serve", "--listen", "unix:/x"], "HOST:PORT only"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["probe", *arguments])
    assert ended.value.code == 2
    written = capsys.readouterr()
    assert said in written.err
    assert "sk-secret" not in written.err.splitlines()[-1]
    assert written.out == ""


@pytest.fixture(scope="module")
def origin() -> Iterator[tuple[str, Output]]:
    """`sseproxy probe --serve`, as its users start it: its URL, and what it writes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sseproxy", "probe", "--serve", "--listen", "127.0.0.1:0"],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    written, errors = Output(process.stdout), Output(process.stderr)
    try:
        (line,) = errors.wait_for(bool)
        yield line.rpartition(" ")[2], written
    finally:
        process.terminate()
        code = process.wait(LIMIT)
        written.close()
        errors.close()
    assert code == 0
    assert "Traceback" not in errors.text


def test_the_origin_is_recognised_and_says_when_clients_left(
    origin: tuple[str, Output], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, written = origin
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)  # no progress line with --json
    assert main(["probe", url, "--for", "1s", "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["ok"] is True
    assert facts["chain"]["origin_saw_version"] == "HTTP/1.1"
    assert facts["chain"]["disconnect_before_head"]["noticed_after"] < 1.5
    assert err == ""
    for said in ("after /: the client has left", "steady /: sent all of it"):
        written.wait_for(lambda lines, said=said: any(said in line for line in lines))  # type: ignore[misc]


def test_the_report_in_words_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with Unreachable() as nowhere:
        assert main(["probe", nowhere.refusing_url]) == 1
    out, err = capsys.readouterr()
    assert "! nothing listens there: connection refused [unreachable]" in out
    assert err == ""


def test_a_progress_line_is_for_terminals_only(
    origin: tuple[str, Output], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["probe", origin[0], "--for", "1s"]) == 0
    out, err = capsys.readouterr()
    assert "s of at most 1 s" in err
    assert err.endswith("\r\x1b[K")
    assert "\x1b" not in out


def test_an_address_that_is_taken(origin: tuple[str, Output], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--serve", "--listen", origin[0].removeprefix("http://")]) == 1
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


# The origin faces a network.


_NO_REQUESTS = (
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nSseproxy-Probe: steady; seconds=nan; step=-1\r\n\r\n",
    b"GET / HTTP/1.1\r\nSseproxy-Probe: \xff; ;=; seconds=1e999\r\n\r\n",
    b"GET \x1b[31m HTTP/1.1\r\n\r\n",
    b"G" * 100_000,
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    b"",
)


async def test_the_origin_survives_what_is_no_request() -> None:
    said: list[str] = []
    async with serving("127.0.0.1", 0, said.append) as url:
        host, _, port = url.removeprefix("http://").rpartition(":")
        for request in _NO_REQUESTS:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(request)
            await writer.drain()
            writer.close()
        report = await probe(read_target(url), 1.0)
    assert report.findings == (), report.text
    assert all(line.isprintable() for line in said)
