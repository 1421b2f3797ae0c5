"""Does docs/push.md tell the truth: its file, its lines for a shell and for Python, its rights, its nginx?"""

import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from sseproxy.demo.ports import listener, port_of
from tests.support.blocking_client import Request, fetch
from tests.support.browser import chromium, wait_for
from tests.support.nginx import nginx_running
from tests.support.patience import LIMIT
from tests.support.redis_server import RedisServer
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs" / "push.md").read_text(encoding="utf-8")
EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


def blocks(language: str) -> list[str]:
    """What stands in the fences of one language."""
    return [text for of, text in re.findall(r"(?ms)^```(\w*)\n(.*?)^```", MANUAL) if of == language]


def lines_for_a_shell(command: str) -> list[str]:
    """The lines of redis-cli that run one command."""
    return [line for block in blocks("console") for line in block.splitlines() if f"redis-cli {command} " in line]


def run_line(redis: RedisServer, line: str) -> str:
    """Run a line of the document; return what redis-cli says."""
    prompt, program, *arguments = shlex.split(line)
    assert (prompt, program) == ("$", "redis-cli")
    command = [program, "-p", str(redis.port), *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    assert not said.startswith("ERR"), said
    return said


#: What a page needs around the lines of the document, which show messages with `show`.
_PAGE = """<!doctype html>
<link rel="icon" href="data:,">
<ol id="shown"></ol>
<script>
sessionStorage.loads = 1 + Number(sessionStorage.loads ?? 0);
const show = ({{ data }}) => document.getElementById("shown").append(data + " ");
{lines}
</script>
"""


class _App(BaseHTTPRequestHandler):
    """Knows who is who by a cookie, and has a page with the document's last lines of JavaScript."""

    def do_GET(self) -> None:
        if self.path == "/":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(_PAGE.format(lines=blocks("js")[-1]).encode())
            return
        user = re.search(r"user=(\w+)", self.headers.get("Cookie", ""))
        self.send_response(204 if user else 401)
        if user:
            self.send_header("X-User", user[1])
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _app() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _App) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Stand:
    """The file of the document, with other ports, and Redis with the user that the document makes."""

    def __init__(self, exits: ExitStack, redis: RedisServer, folder: Path) -> None:
        self.redis = redis
        (rights,) = lines_for_a_shell("ACL SETUSER")
        run_line(redis, rights)
        text = blocks("yaml")[0].replace("127.0.0.1:9000", f"127.0.0.1:{exits.enter_context(_app())}")
        text = text.replace("redis://127.0.0.1:6379/0", redis.url.replace("://", "://sseproxy:a-password@"))
        self._file = folder / "sseproxy.yaml"
        self._file.write_text(text, encoding="utf-8")
        self._exits = exits
        self.replicas: list[SseproxyProcess] = []
        self.url = self.replica()

    def replica(self) -> str:
        """Start one; return its URL."""
        process = SseproxyProcess("-c", str(self._file), "--listen", "127.0.0.1:0")
        self.replicas.append(self._exits.enter_context(process))
        return process.url

    @contextmanager
    def inbox(self, user: str = "alice", *, position: str = "", url: str = "") -> Iterator[Request]:
        """The open stream of a user, once it has begun."""
        headers = {**EVENT_SOURCE, "Cookie": f"user={user}"} | ({"Last-Event-ID": position} if position else {})
        with Request(url or self.url, "/inbox", headers=headers) as request:
            request.wait_for(b"id: V.")
            yield request


@pytest.fixture(params=["Kt", ""], ids=["notifications", "blocking reads"])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    with RedisServer(notifications=request.param) as redis, ExitStack() as exits:
        yield Stand(exits, redis, tmp_path)
        assert redis.cli("ACL", "LOG") == []


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_file_loads_without_a_warning(text: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sseproxy", "check", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(file))}: \d routes, no errors\n", done.stdout), done.stdout


def test_what_a_shell_publishes_arrives(stand: Stand) -> None:
    with stand.inbox() as alice, stand.inbox("bob") as bob:
        for line in lines_for_a_shell("XADD"):
            mark = run_line(stand.redis, line).strip()
            alice.wait_for(f"id: V.{mark}.0-0\n".encode())
        for line in lines_for_a_shell("EXPIRE"):
            assert run_line(stand.redis, line) == "1\n"
        alice.wait_for(b"data: hello\n\n")
        assert b'event: message\ndata: {"text": "hello"}\n\n' in alice.body
        stand.redis.cli("XADD", "news", "*", "data", "for all")
        bob.wait_for(b"for all")
        assert b"hello" not in bob.body


def test_what_python_publishes_arrives(stand: Stand) -> None:
    with stand.inbox() as alice, stand.redis.client() as client:
        (lines,) = blocks("python")
        exec(lines, {"redis": client, "json": json, "user": "alice", "message": {"text": "by Python"}})
        alice.wait_for(b'data: {"text": "by Python"}\n\n')
        assert client.ttl("inbox:alice") > 29 * 86400


def test_a_gap_is_told_as_it_stands_there(stand: Stand) -> None:
    (shown,) = (block for block in blocks("") if block.startswith("event: gap"))
    redis = stand.redis
    for number in range(5):
        redis.cli("XADD", "inbox:carol", f"{1764489600000 + number}-0", "data", number)
    redis.cli("XTRIM", "inbox:carol", "MAXLEN", 2)
    with stand.inbox("carol", position="V.1764489600000-0.0-0") as carol:
        carol.wait_for(b"data: 4")
    (gap,) = re.findall(r"(?m)^event: gap\nid: .*\ndata: .*\n", carol.body.decode())
    # The route of the document has two streams, its example of a gap has one.
    assert gap.replace("V.1764489600000-0.0-0", "1764489600000-0").replace("V.", "").replace(".0-0\n", "\n") == shown


def test_a_page_that_is_loaded_anew_goes_on_where_it_was_and_a_gap_is_told_once(stand: Stand) -> None:
    def shown(browser: Chrome) -> str:
        script = "return document.getElementById('shown')?.textContent.trim()"  # one step: the page may go meanwhile
        return str(browser.execute_script(script))

    with chromium() as browser:
        browser.get(f"{stand.url}/")
        browser.add_cookie({"name": "user", "value": "alice"})
        with stand.inbox():  # the stream is followed, so the page begins when its own is open
            browser.get(f"{stand.url}/")
            wait_for(browser, lambda _: browser.execute_script("return source.readyState === EventSource.OPEN"))
            stand.redis.cli("XADD", "inbox:alice", "*", "data", "one")
            wait_for(browser, lambda _: shown(browser) == "one")
            browser.get("about:blank")
            stand.redis.cli("XADD", "inbox:alice", "*", "data", "two")
            browser.get(f"{stand.url}/")
            wait_for(browser, lambda _: shown(browser) == "two")
            browser.execute_script("sessionStorage.loads = 0; sessionStorage.inbox = 'nonsense'; location.reload()")
            wait_for(browser, lambda _: shown(browser) == "one two")
            assert browser.execute_script("return sessionStorage.loads") == "2"


def test_a_stranger_gets_the_answer_of_the_app(stand: Stand) -> None:
    assert fetch(stand.url, "/inbox", headers=EVENT_SOURCE).status == 401


def test_behind_nginx_a_client_may_come_back_to_either_replica(stand: Stand) -> None:
    sock = listener()
    port = port_of(sock)
    replicas = {"8090": stand.url, "8091": stand.replica()}
    conf = (ROOT / "nginx" / "push.conf").read_text(encoding="utf-8").replace("127.0.0.1:8009;", f"127.0.0.1:{port};")
    for written, url in replicas.items():
        conf = conf.replace(f"server 127.0.0.1:{written};", f"server {url.removeprefix('http://')};")
    with nginx_running(conf, sock):
        url, position, texts = f"http://127.0.0.1:{port}", "", []
        for number in range(4):  # nginx takes each in turn
            with stand.inbox(url=url, position=position) as alice:
                if number:
                    alice.wait_for(b"data: away\n\n")
                stand.redis.cli("XADD", "inbox:alice", "*", "data", number)
                alice.wait_for(f"data: {number}\n\n".encode())
            texts += re.findall(r"(?m)^data: (.*)$", alice.body.decode())
            position = re.findall(r"(?m)^id: (.*)$", alice.body.decode())[-1]
            stand.redis.cli("XADD", "inbox:alice", "*", "data", "away")
    assert texts == ["0", "away", "1", "away", "2", "away", "3"]
    for replica in stand.replicas:
        replica.stdout.wait_for(lambda lines: any("path=/inbox status=200" in line for line in lines))


def test_the_nginx_of_the_document_is_that_of_the_file() -> None:
    whole = [line.strip() for line in (ROOT / "nginx" / "push.conf").read_text(encoding="utf-8").splitlines()]
    for block in blocks("nginx"):
        for line in block.splitlines():
            assert line.strip() in whole, line


def test_fifty_clients_are_a_handful_of_connections_for_redis(stand: Stand) -> None:
    with ExitStack() as exits:
        streams = [exits.enter_context(stand.inbox()) for _ in range(50)]
        stand.redis.cli("XADD", "inbox:alice", "*", "data", "for all fifty")
        for stream in streams:
            stream.wait_for(b"for all fifty")
        connections = str(stand.redis.cli("CLIENT", "LIST")).count("user=sseproxy")
        assert 2 <= connections <= 5
