"""On what do whole processes run whose routes have a journal: service, sseproxy, and pages in a browser?"""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from selenium.webdriver import Chrome

from tests.e2e.journal.service import Service
from tests.examples.chat_examples import FOLDER, vite_program
from tests.support.browser import wait_for
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[3]

#: Where npm has put what is tried in pages.
MODULES = ROOT / "tests" / "e2e" / "clients" / "node" / "node_modules"

#: A chat as the AI SDK asks for it, an answer that has no name but its own, and a feed for all.
ROUTES = """
  - name: chat
    match: {path: /api/chat, methods: [POST]}
    upstream: SERVICE
    stream: always
    heartbeat: {before_response: 200ms}
    journal:
      kind: answer
      key: "body:id"
      login: [cookie:session]
      resume: {path: "/api/chat/{key}/stream"}
  - name: ask
    match: {path: /ask}
    upstream: SERVICE
    tickets: {}
    journal: {kind: answer}
  - name: feed
    match: {path: /feed}
    upstream: SERVICE
    journal: {kind: feed, login: anyone}
"""

_CONFIG = """
server: {{listen: "127.0.0.1:0", drain: {{timeout: 2s, spread: off}}}}
log: {{format: json}}
defaults: {{dialect: auto, timeouts: {{response: 15m, idle: auto}}, heartbeat: {{interval: 200ms}}}}
routes:
{routes}
  - name: rest
    upstream: SERVICE
"""


@dataclass(frozen=True, slots=True)
class Stand:
    """A service, and sseproxy in front of it."""

    service: Service
    proxy: SseproxyProcess

    @property
    def url(self) -> str:
        return self.proxy.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_for_ends(self, path: str, number: int) -> None:
        """Wait until so many requests of a path are over, as the access log says."""

        def are_over(lines: list[str]) -> bool:
            return [json.loads(line).get("path") for line in lines].count(path) >= number

        self.proxy.stdout.wait_for(are_over)


@contextlib.contextmanager
def stand(folder: Path, routes: str = ROUTES, folders: Mapping[str, Path] | None = None) -> Iterator[Stand]:
    """routes: `SERVICE` in them is the service's URL. folders: what the service has below a path."""
    with Service.serving(folders) as service:
        config = folder / "sseproxy.yaml"
        config.write_text(_CONFIG.format(routes=routes.strip("\n")).replace("SERVICE", service.url))
        with SseproxyProcess("-c", str(config)) as proxy:
            yield Stand(service, proxy)


def build_chat_page(folder: Path) -> str:
    """Build the page of examples/resumable_chat that has `useChat` into a folder; return its HTML."""
    build = [vite_program(), "build", "--outDir", str(folder), "--emptyOutDir", "--logLevel", "error"]
    subprocess.run(build, cwd=FOLDER / "vite", check=True, timeout=400)
    return (folder / "index.html").read_text()


def chunk(**members: str) -> str:
    """The data of one event of the AI SDK's UI message stream."""
    return json.dumps(members)


def opening() -> list[str]:
    """The data of the events that such a stream begins with."""
    return [chunk(type="start", messageId="answer"), chunk(type="text-start", id="text")]


def words(*said: str) -> list[str]:
    """The data of the events that bring words."""
    return [chunk(type="text-delta", id="text", delta=f"{word} ") for word in said]


def closing() -> list[str]:
    """The data of the events that such a stream ends with."""
    return [chunk(type="text-end", id="text"), chunk(type="finish"), "[DONE]"]


class Tab:
    """One tab of a browser, in which a page keeps what it heard in the array `heard`."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self._handle = driver.current_window_handle

    def look(self) -> None:
        """Let it be the tab that the user sees; the others are hidden."""
        self.driver.switch_to.window(self._handle)

    def open(self, url: str) -> None:
        self.look()
        self.driver.get(url)

    @property
    def heard(self) -> list[str]:
        self.look()
        found: list[str] = self.driver.execute_script("return heard")
        return found

    def hears(self, *wanted: str) -> None:
        """Wait until it has heard so much. AssertionError: it is not exactly that."""
        wait_for(self.driver, lambda _: len(self.heard) >= len(wanted))
        assert self.heard == list(wanted)


def new_tab(driver: Chrome) -> Tab:
    """Open a tab, and look at it."""
    driver.switch_to.new_window("tab")
    return Tab(driver)
