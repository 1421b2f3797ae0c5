"""What do the clients of runs notice of a restart of sseproxy, with `store.file`? (docs/operations.md)"""

import contextlib
import json
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.hand_upstream import Call, HandUpstream
from tests.support.scrape import value, wait_until
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.whatwg import parse

TAKES_IDS = {"Accept": "text/event-stream", "Cookie": "s=one"}
BROWSER = {**TAKES_IDS, "Cache-Control": "no-cache"}

#: Clients of each kind in the restart under load.
ANSWERS, FEEDS, READERS = 20, 5, 4


@dataclass
class Reader:
    """What one client has got, over all its connections."""

    got: list[str] = field(default_factory=list)
    position: str = ""

    def take(self, body: bytes) -> None:
        """Note the events of one connection."""
        for event in parse(body).events:
            if event.type == "message":
                self.got.append(event.data)
            else:
                self.got.append(f"{event.type}: {json.loads(event.data).get('type')}")
            self.position = event.last_event_id


def config(folder: Path, upstream: str, *, timeout: str, secret: str = "", file: bool = True) -> Path:
    store = (
        {"memory": "64MiB"} | ({"file": str(folder / "runs")} if file else {}) | ({"secret": secret} if secret else {})
    )
    (folder / "c.yaml").write_text(f"""\
server: {{listen: '127.0.0.1:0', drain: {{timeout: {timeout}, spread: off}}}}
admin: {{listen: '127.0.0.1:0'}}
store: {json.dumps(store)}
defaults: {{heartbeat: {{interval: off}}}}
routes:
  - {{name: chat, match: {{path: /chat}}, upstream: '{upstream}', journal: {{kind: answer, key: 'query:c',
     login: 'cookie:s', resume: {{path: '/chat/{{key}}/stream', ended: replay}}}}}}
  - {{name: feed, match: {{path: /feed}}, upstream: '{upstream}', journal: {{kind: feed, login: anyone}}}}
""")
    return folder / "c.yaml"


@contextlib.contextmanager
def process(path: Path) -> Iterator[SseproxyProcess]:
    with SseproxyProcess("-c", str(path)) as running:
        yield running


def ask(
    proxy: SseproxyProcess, target: str, *, position: str = "", browser: bool = False, post: bool = False
) -> Request:
    headers = (BROWSER if browser else TAKES_IDS) | ({"Last-Event-ID": position} if position else {})
    return Request(proxy.url, target, method="POST" if post else "GET", body=b"{}" if post else None, headers=headers)


def rest(request: Request) -> bytes:
    """The body to its end, whether that is a clean one or not."""
    with contextlib.suppress(Exception):
        request.read()
    return request.body


@contextlib.contextmanager
def begun(
    proxy: SseproxyProcess, upstream: HandUpstream, target: str, *, browser: bool = False, post: bool = False
) -> Iterator[tuple[Request, Call]]:
    """A client whose run has one event."""
    with ask(proxy, target, browser=browser, post=post) as client, upstream.accept() as call:
        call.begin()
        call.send(b"data: 1\n\n")
        client.wait_for(b"data: 1\n\n")
        yield client, call


@dataclass
class Crowd:
    """Clients of answers that are done before the restart, of answers that it cuts, and of feeds."""

    upstream: HandUpstream
    done: list[Reader] = field(default_factory=lambda: [Reader() for _ in range(ANSWERS)])
    cut: list[Reader] = field(default_factory=lambda: [Reader() for _ in range(ANSWERS)])
    feeds: list[list[Reader]] = field(
        default_factory=lambda: [[Reader() for _ in range(READERS)] for _ in range(FEEDS)]
    )

    def come(self, proxy: SseproxyProcess, stack: contextlib.ExitStack) -> list[tuple[Reader, Request]]:
        """Let all of them have two events, but those of `done`, who leave after one; the others are connected."""
        there: list[tuple[Reader, Request]] = []
        for number, reader in enumerate([*self.done, *self.cut]):
            client, call = stack.enter_context(begun(proxy, self.upstream, f"/chat?c={number}", post=True))
            if number < ANSWERS:
                client.close()
                reader.take(client.body)
            else:
                there.append((reader, client))
            call.send(b"data: 2\n\n")
            if number < ANSWERS:
                call.finish()
        for number, (first, *others) in enumerate(self.feeds):
            client, call = stack.enter_context(begun(proxy, self.upstream, f"/feed?f={number}", browser=True))
            target = f"/feed?f={number}&last-event-id=oldest"
            there.append((first, client))
            there += [(reader, stack.enter_context(ask(proxy, target, browser=True))) for reader in others]
            call.send(b"data: 2\n\n")
        for _, client in there:
            client.wait_for(b"data: 2\n\n")
        return there

    def come_back(self, proxy: SseproxyProcess, stack: contextlib.ExitStack) -> None:
        """Let all of them resume; of feeds there is one more event."""
        for number, reader in enumerate([*self.done, *self.cut]):
            reader.take(rest(stack.enter_context(ask(proxy, f"/chat?c={number}", position=reader.position))))
        for number, readers in enumerate(self.feeds):
            back = [
                stack.enter_context(ask(proxy, f"/feed?f={number}", position=reader.position, browser=True))
                for reader in readers
            ]
            call = stack.enter_context(self.upstream.accept())
            call.begin()
            call.send(b"data: 3\n\n")
            for reader, client in zip(readers, back, strict=True):
                client.wait_for(b"data: 3\n\n")
                reader.take(client.body)


def test_a_restart_under_load(tmp_path: Path) -> None:
    """Each client gets the rest, and then the end."""
    with HandUpstream() as upstream:
        path, crowd = config(tmp_path, upstream.url, timeout="1s"), Crowd(upstream)
        with process(path) as proxy, contextlib.ExitStack() as stack:
            there = crowd.come(proxy, stack)
            wait_until(
                lambda: value(proxy.urls[-1], "sseproxy_journal_runs", route="chat", state="ended") == ANSWERS, "ends"
            )
            proxy.send_signal(signal.SIGTERM)
            for reader, client in there:
                reader.take(rest(client))
            assert proxy.wait() == 0
        saved = tmp_path / "runs"
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
        assert b"s=one" not in saved.read_bytes()
        with process(path) as proxy, contextlib.ExitStack() as stack:
            assert not saved.exists()
            crowd.come_back(proxy, stack)
        assert {tuple(reader.got) for reader in crowd.done} == {("1", "2")}
        assert {tuple(reader.got) for reader in crowd.cut} == {("1", "2", "error: drain", "error: drain")}
        # The upstream gives no ids, so that it cannot say whether it goes on where it was.
        assert {tuple(reader.got) for each in crowd.feeds for reader in each} == {("1", "2", "gap: None", "3")}


def test_the_drain_waits_for_an_answer_that_no_client_reads(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        path = config(tmp_path, upstream.url, timeout="60s")
        with process(path) as proxy, begun(proxy, upstream, "/chat?c=1", post=True) as (client, call):
            client.close()
            proxy.send_signal(signal.SIGTERM)
            wait_until(lambda: any("draining" in line for line in proxy.stderr.lines), "it drains")
            call.send(b"data: 2\n\n")
            call.finish()
            assert proxy.wait() == 0
        with process(path) as proxy, ask(proxy, "/chat/1/stream") as back:
            assert [event.data for event in parse(rest(back)).events] == ["1", "2"]
            assert back.status == 200


def test_without_a_file_it_does_not_wait_and_nothing_is_left(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        path = config(tmp_path, upstream.url, timeout="60s", file=False)
        with process(path) as proxy, begun(proxy, upstream, "/chat?c=1", post=True) as (client, call):
            client.close()
            wait_until(
                lambda: value(proxy.urls[-1], "sseproxy_journal_detached_seconds_total", route="chat") > 0, "it goes on"
            )
            proxy.send_signal(signal.SIGTERM)
            call.wait_until_left()
            assert proxy.wait() == 0
        with process(path) as proxy, ask(proxy, "/chat/1/stream") as back:
            assert back.status == 204


@pytest.mark.parametrize(("before", "behind", "status"), [("a", "a", 200), ("a", "", 204), ("", "b", 204)])
def test_runs_are_found_with_the_secret_that_they_were_kept_with(
    tmp_path: Path, before: str, behind: str, status: int
) -> None:
    with HandUpstream() as upstream:
        with process(config(tmp_path, upstream.url, timeout="60s", secret=before * 16)) as proxy:
            with begun(proxy, upstream, "/chat?c=1", post=True) as (client, call):
                call.finish()
                client.read()
            proxy.send_signal(signal.SIGTERM)
            assert proxy.wait() == 0
        if before:
            assert before * 16 not in (tmp_path / "runs").read_text("latin-1")
        with process(config(tmp_path, upstream.url, timeout="60s", secret=behind * 16)) as proxy:
            with ask(proxy, "/chat/1/stream") as back:
                assert back.status == status
            with Request(proxy.url, "/chat/1/stream", headers={"Cookie": "s=another"}) as foreign:
                assert foreign.status == 204
            assert any("store.secret" in line for line in proxy.stderr.lines) == (status == 204)


def test_a_second_signal_loses_nothing_that_has_ended(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        path = config(tmp_path, upstream.url, timeout="60s")
        with process(path) as proxy, begun(proxy, upstream, "/chat?c=1", post=True) as (client, _):
            proxy.send_signal(signal.SIGTERM)
            wait_until(lambda: any("draining" in line for line in proxy.stderr.lines), "it drains")
            proxy.send_signal(signal.SIGTERM)
            reader = Reader()
            reader.take(rest(client))
            assert proxy.wait() == 0
        with process(path) as proxy, ask(proxy, "/chat/1/stream", position=reader.position) as back:
            reader.take(rest(back))
            assert reader.got == ["1", "error: drain", "error: drain"]


def test_a_file_that_is_damaged_is_said_to_be(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        path = config(tmp_path, upstream.url, timeout="1s")
        (tmp_path / "runs").write_bytes(b"sseproxy journal 1\n" + b"0" * 100)
        (tmp_path / "runs").chmod(0o600)
        with process(path) as proxy:
            assert fetch(proxy.urls[-1], "/readyz").status == 200
            assert any("is not used" in line for line in proxy.stderr.lines)
