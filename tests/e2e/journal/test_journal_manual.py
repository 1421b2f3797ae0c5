"""Does docs/journal.md tell the truth: its files, its defaults, its URLs, its ends, its gap?"""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from sseproxy.config.loader import load
from tests.docs.pages import DOCS, blocks
from tests.e2e.journal.service import Call
from tests.e2e.journal.stand import ROOT, Stand, stand
from tests.support.blocking_client import Request, fetch
from tests.support.browser import chromium, wait_for
from tests.support.whatwg import parse

MANUAL = (DOCS / "journal.md").read_text(encoding="utf-8")
RECIPES = (DOCS / "recipes.md").read_text(encoding="utf-8")

FILES = [text for language, text in blocks(MANUAL) if language == "yaml"]
FILES += [text for language, text in blocks(RECIPES) if language == "yaml" and "journal:" in text]

EVENT_SOURCE = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
ANN = {"Cookie": "session=ann"}


@pytest.mark.parametrize("text", FILES)
def test_a_file_loads_without_a_warning(text: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text.replace("/var/lib/sseproxy", str(tmp_path)), encoding="utf-8")
    command = [sys.executable, "-m", "sseproxy", "check", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if "warning" in line] == []


@pytest.mark.parametrize(("kind", "column"), [("answer", 1), ("feed", 2)])
def test_the_table_has_the_defaults(kind: str, column: int, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    login = ", login: anyone" if kind == "feed" else ""
    file.write_text(f"routes: [{{upstream: 'http://127.0.0.1:1', journal: {{kind: {kind}{login}}}}}]")
    policy = load(file, flags={}, environ={}).routes[0].journal
    assert policy is not None
    rows = [row.split("|") for row in MANUAL.splitlines() if row.count("|") == 4]
    said = {key: row[column + 1] for row in rows for key in re.findall(r"\(`(\w+)`\)", row[1])}
    assert f"`{policy.key[0]}`" in said["key"]
    assert f"`{policy.again}`" in said["again"]
    assert f"`{policy.start}`" in said["start"]
    assert f"{policy.keep.bytes // 2**20} MiB" in said["keep"]
    assert f"{policy.keep.age / 60:.0f} min" in said["keep"]
    assert policy.keep.events is None or f"{policy.keep.events:,} events" in said["keep"]
    assert (f"{policy.detach:.0f} s" if isinstance(policy.detach, float) else f"`{policy.detach}`") in said["detach"]
    assert policy.reopen == 0 or f"{policy.reopen} times" in said["reopen"]


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("manual")) as on:
        lines = _snippet("async function ask").replace("v1/chat/completions", "ask")
        on.service.pages["/ticket-page"] = _PAGE.replace("LINES", f"{lines}if (sessionStorage.answer) read();")
        on.service.pages["/prices-page"] = _PAGE.replace("LINES", _snippet("prices").replace("/prices", "/feed"))
        yield on


def ask(on: Stand, path: str, name: str = "", **fields: str) -> tuple[Request, Call]:
    """Send a POST; return it, and the call of the service."""
    before = len(on.service.calls)
    body = json.dumps({"id": name, "messages": []}).encode()
    request = Request(on.url, path, method="POST", headers={**ANN, **fields}, body=body)
    return request, on.service.call(before)


def delete(on: Stand, path: str, **fields: str) -> int:
    with Request(on.url, path, method="DELETE", headers={**ANN, **fields}) as request:
        request.read()
        return request.status


def data(body: bytes) -> list[str]:
    return [event.data for event in parse(body).events]


def test_the_url_of_a_run_is_in_its_head_and_replays_it(on: Stand) -> None:
    request, call = ask(on, "/ask")
    with request:
        call.begin()
        call.say("one", "two")
        request.wait_for(b"two")
        url = request.field("Content-Location") or ""
        assert re.fullmatch(r"/_runs/ask/[\w-]{22}", url)
        with Request(on.url, url, headers=ANN) as other:
            other.wait_for(b"two")
            call.say("three")
            call.finish()
            assert data(other.read()) == ["one", "two", "three"]
        assert data(request.read()) == ["one", "two", "three"]
    assert data(fetch(on.url, url, headers=ANN).body) == ["one", "two", "three"]
    assert fetch(on.url, f"{url[:-1]}{'A' if url[-1] != 'A' else 'B'}", headers=ANN).status == 404


def test_with_a_key_the_newest_run_is_there_until_it_ends(on: Stand) -> None:
    request, call = ask(on, "/api/chat", "newest")
    url = "/api/chat/newest/stream"
    with request:
        call.begin()
        call.say("one")
        request.wait_for(b"one")
        assert request.field("Content-Location") == url
        assert fetch(on.url, url, headers={"Cookie": "session=bob"}).status == 204
        with Request(on.url, url, headers=ANN) as other:
            other.wait_for(b"one")
            call.finish()
            assert data(other.read()) == data(request.read()) == ["one"]
    assert fetch(on.url, url, headers=ANN).status == 204
    assert fetch(on.url, "/api/chat/never-asked/stream", headers=ANN).status == 204


def test_delete_stops_and_is_204_whether_there_was_anything_to_stop(on: Stand) -> None:
    request, call = ask(on, "/api/chat", "stopped")
    url = "/api/chat/stopped/stream"
    with request:
        call.begin()
        call.say("one")
        request.wait_for(b"one")
        assert delete(on, url, Cookie="session=bob") == 204
        call.say("two")
        request.wait_for(b"two")
        assert delete(on, url, Origin="http://elsewhere.example") == 403
        call.say("three")
        request.wait_for(b"three")
        assert delete(on, url) == 204
        call.wait_until_left()
        assert data(request.read()) == ["one", "two", "three"]  # a clean end
    assert delete(on, url) == 204
    assert delete(on, "/api/chat/never-asked/stream") == 204


def test_a_position_resumes_and_its_request_reaches_nobody(on: Stand) -> None:
    request, call = ask(on, "/ask", Accept="text/event-stream")
    with request:
        call.begin()
        call.say("one", "two", "three")
        request.wait_for(b"three")
        call.finish()
        ids = [event.last_event_id for event in parse(request.read()).events]
    before = len(on.service.calls)
    with Request(on.url, "/ask", method="POST", headers={**ANN, "Last-Event-ID": ids[0]}, body=b"{}") as again:
        assert data(again.read()) == ["two", "three"]
    for name in ("last-event-id", "lastEventId", "last_event_id"):
        with Request(on.url, f"/ask?{name}={ids[1]}", method="POST", headers=ANN, body=b"{}") as again:
            assert data(again.read()) == ["three"]
    unknown = f"{ids[0][:3]}{'A' * 19}.1-1"
    with Request(on.url, "/ask", method="POST", headers={**ANN, "Last-Event-ID": unknown}, body=b"{}") as refused:
        refused.read()
        assert refused.status == 410
    assert len(on.service.calls) == before


def test_a_run_that_broke_off_ends_so_for_all(on: Stand) -> None:
    request, call = ask(on, "/ask", Accept="text/event-stream")
    with request:
        call.begin()
        call.say("one", "two")
        request.wait_for(b"two")
        url = request.field("Content-Location") or ""
        call.break_off()
        with pytest.raises(http.client.IncompleteRead):
            request.read()
    seen = parse(request.body).events
    assert [event.type for event in seen] == ["message", "message", "error"]
    first, _, end = (event.last_event_id for event in seen)
    with Request(on.url, url, headers=ANN) as later, pytest.raises(http.client.IncompleteRead):
        later.read()
    assert [event.type for event in parse(later.body).events] == ["message", "message", "error"]
    browser = fetch(on.url, url, headers={**ANN, **EVENT_SOURCE, "Last-Event-ID": first})
    assert [event.type for event in parse(browser.body).events] == ["message", "error"]
    assert parse(browser.body).events[-1].last_event_id == end
    assert fetch(on.url, url, headers={**ANN, **EVENT_SOURCE, "Last-Event-ID": end}).status == 204
    assert fetch(on.url, url, headers={**ANN, "Last-Event-ID": end}).status == 410


def test_without_a_part_of_its_key_or_login_a_request_has_no_journal(on: Stand) -> None:
    for body, fields in ((b'{"id": "x"}', {}), (b'{"messages": []}', ANN), (b"no JSON", ANN)):
        before = len(on.service.calls)
        with Request(on.url, "/api/chat", method="POST", headers=fields, body=body) as request:
            call = on.service.call(before)
            call.begin()
            call.say("one")
            call.finish()
            assert data(request.read()) == ["one"]
            assert request.field("Content-Location") is None


def test_a_second_question_replaces_the_first_answer(on: Stand) -> None:
    first, old = ask(on, "/api/chat", "twice")
    with first:
        old.begin()
        old.say("old")
        first.wait_for(b"old")
        second, new = ask(on, "/api/chat", "twice")
        with second:
            new.begin()
            new.say("new")
            second.wait_for(b"new")
            with Request(on.url, "/api/chat/twice/stream", headers=ANN) as other:
                other.wait_for(b"new")
            old.say("still")
            first.wait_for(b"still")
            first.close()
            old.wait_until_left()
            assert new.left_at is None
            new.finish()


#: What a page needs around the lines of the document.
_PAGE = """<!doctype html><link rel="icon" href="data:,"><script>
const heard = [];
const show = (data) => heard.push(data);
LINES
</script>"""


def _snippet(word: str) -> str:
    """The lines of JavaScript that name it."""
    return next(text for language, text in blocks(MANUAL) if language == "js" and word in text)


@pytest.fixture
def driver() -> Iterator[Chrome]:
    with chromium() as driver:
        yield driver


def test_a_page_that_is_loaded_anew_gets_what_came_meanwhile(on: Stand, driver: Chrome) -> None:
    before = len(on.service.calls)
    driver.get(f"{on.url}/prices-page")
    call = on.service.call(before)
    call.begin()
    call.say("one")
    heard = "return heard"
    wait_for(driver, lambda _: driver.execute_script(heard) == ["one"])
    driver.get("about:blank")
    call.say("two", "three")
    driver.get(f"{on.url}/prices-page")
    wait_for(driver, lambda _: driver.execute_script(heard) == ["two", "three"])
    assert len(on.service.calls) == before + 1


def test_a_page_with_event_source_alone_survives_a_reload(on: Stand, driver: Chrome) -> None:
    before = len(on.service.calls)
    driver.get(f"{on.url}/ticket-page")
    driver.execute_script("ask({ messages: [] })")
    call = on.service.call(before)
    assert (call.method, call.target, json.loads(call.body)) == ("POST", "/ask", {"stream": True, "messages": []})
    call.begin()
    call.say("one")
    heard = "return heard"
    wait_for(driver, lambda _: driver.execute_script(heard) == ["one"])
    for said in (["one", "two"], ["one", "two", "three"]):
        call.say(said[-1])
        driver.refresh()
        wait_for(driver, lambda _, said=said: driver.execute_script(heard) == said)  # type: ignore[misc]
    call.finish()
    driver.refresh()
    wait_for(driver, lambda _: driver.execute_script(heard) == ["one", "two", "three"])
    assert len(on.service.calls) == before + 1
