"""Does a page of fetch-event-source whose tab is hidden meanwhile read its answer whole, and is it paid once?"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.journal.stand import MODULES, Stand, Tab, new_tab, stand
from tests.support.browser import chromium

#: As its users write it: nothing here knows of positions.
_PAGE = """<!doctype html><link rel=icon href="data:,"><script type="module">
import { fetchEventSource } from "/lib/fetch-event-source/lib/esm/index.js";
window.heard = [];
fetchEventSource("/ask", {
  method: "POST",
  headers: HEADERS,
  body: JSON.stringify({ stream: true, messages: [] }),
  onmessage: ({ data, event }) => heard.push(event ? `${event}: ${data}` : data),
  onclose: () => heard.push("closed"),
  onerror: (error) => { heard.push("error"); throw error; },
});
</script>"""


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path, folders={"/lib": MODULES / "@microsoft"}) as on:
        on.service.pages["/page"] = _PAGE.replace("HEADERS", '{ "Content-Type": "application/json" }')
        yield on


def test_the_service_is_asked_once(on: Stand) -> None:
    with chromium() as driver:
        tab = Tab(driver)
        tab.open(f"{on.url}/page")
        call = on.service.call()
        call.begin()
        call.say("1", "2")
        said = ["1", "2"]
        tab.hears(*said)
        for times in range(1, 4):
            new_tab(driver)
            on.wait_for_ends("/ask", times)  # the library has closed its connection
            call.say(f"hidden {times}")
            driver.close()
            tab.look()
            said.append(f"hidden {times}")
            tab.hears(*said)
            call.say(f"seen {times}")
            said.append(f"seen {times}")
            tab.hears(*said)
        call.finish()
        tab.hears(*said, "closed")
        assert len(on.service.calls) == 1
        assert call.left_at is None


def test_an_answer_that_ended_while_it_was_hidden_is_whole(on: Stand) -> None:
    with chromium() as driver:
        tab = Tab(driver)
        tab.open(f"{on.url}/page")
        call = on.service.call()
        call.begin()
        call.say("1")
        tab.hears("1")
        new_tab(driver)
        on.wait_for_ends("/ask", 1)
        call.say("2", "3")
        call.finish()
        driver.close()
        tab.hears("1", "2", "3", "closed")
        assert len(on.service.calls) == 1


_NAMED = """
  - name: ask
    match: {path: /ask}
    upstream: SERVICE
    journal: {kind: answer, key: "header:Idempotency-Key", login: [cookie:session], again: join}
"""


def test_a_name_of_the_page_s_own_covers_a_tab_that_is_hidden_before_the_first_event(tmp_path: Path) -> None:
    with stand(tmp_path, _NAMED, {"/lib": MODULES / "@microsoft"}) as on, chromium() as driver:
        on.service.pages["/page"] = _PAGE.replace("HEADERS", '{ "Idempotency-Key": "question-1" }')
        tab = Tab(driver)
        tab.open(f"{on.url}/api/session")
        tab.open(f"{on.url}/page")
        call = on.service.call()
        new_tab(driver)
        on.wait_for_ends("/ask", 1)
        driver.close()
        tab.look()
        call.begin()
        call.say("1")
        tab.hears("1")
        call.finish()
        tab.hears("1", "closed")
        assert len(on.service.calls) == 1
