"""How do tests run examples/resumable_chat, with the commands that it names, and look at its pages?"""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.support.browser import wait_for
from tests.support.programs import require
from tests.support.server_process import ServerProcess
from tests.support.sseproxy_process import Output, SseproxyProcess

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "resumable_chat"


@dataclass(frozen=True, slots=True)
class RunningChat:
    """url: of sseproxy, in front of the service."""

    url: str
    service: ServerProcess


@contextlib.contextmanager
def running_chat() -> Iterator[RunningChat]:
    """Run the command in the first line of its app.py, on ports that the kernel chooses."""
    service, proxy = (FOLDER / "app.py").read_text().splitlines()[0].removeprefix("# ").split(" & ")
    program, *arguments = shlex.split(proxy)
    assert [program, arguments[0], arguments[1]] == ["sseproxy", "serve", "-c"]
    with ServerProcess(*shlex.split(service.replace("9000", "0"))) as app:
        command = ("-c", str(ROOT / arguments[2]), "--listen", "127.0.0.1:0")
        with SseproxyProcess(*command, environment={"APP_URL": app.url}) as process:
            yield RunningChat(process.url, app)
        app.ask_to_end()
        app.wait()
    assert "Traceback" not in app.output.text


def vite_program() -> str:
    """Return the path of Vite, which is installed if it is not there."""
    require("npm")
    subprocess.run(["sh", ".ci/node"], cwd=ROOT, check=True, timeout=400)
    return str(FOLDER / "vite" / "node_modules" / ".bin" / "vite")


@contextlib.contextmanager
def vite(sseproxy: str) -> Iterator[str]:
    """Run the development server of the page with `useChat`; yields its URL."""
    command = [vite_program(), "--host", "127.0.0.1", "--port", "0", "--clearScreen", "false"]
    environment = {**os.environ, "SSEPROXY_URL": sseproxy, "NO_COLOR": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=FOLDER / "vite", env=environment, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    output = Output(process.stdout)
    try:
        lines = output.wait_for(lambda lines: any("Local:" in line for line in lines))
        yield next(line for line in lines if "Local:" in line).split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


@dataclass(frozen=True, slots=True)
class ChatPage:
    """One of the two pages in a tab: both have a list `messages`, a line `status`, and buttons `send` and `stop`."""

    driver: Chrome

    def open(self, url: str) -> None:
        """Open it, and wait until it is ready for a question."""
        self.driver.get(url)
        wait_for(self.driver, lambda _: self._can("send"))

    def ask(self) -> None:
        self.driver.find_element(By.ID, "send").click()

    def stop(self) -> None:
        self.driver.find_element(By.ID, "stop").click()

    def text(self, name: str) -> str:
        found = self.driver.find_elements(By.ID, name)
        return found[0].text if found else ""

    @property
    def answer(self) -> str:
        """The last answer that it shows, if the last thing said is one."""
        said = self.driver.find_elements(By.CSS_SELECTOR, "#messages > li:last-child.assistant")
        return said[0].text if said else ""

    def wait_for_words(self, number: int) -> str:
        """Return the answer as soon as it has so many words."""
        return wait_for(self.driver, lambda _: (said := self.answer) and len(said.split()) >= number and said) or ""

    def wait_for_end(self) -> str:
        """Return the answer once it is over: another question can be asked."""
        wait_for(self.driver, lambda _: self._can("send") and self.answer)
        return self.answer

    def open_second_tab(self) -> None:
        """Open the same URL in a new tab, and go there."""
        url = self.driver.current_url
        self.driver.switch_to.new_window("tab")
        self.driver.get(url)

    def _can(self, name: str) -> bool:
        found = self.driver.find_elements(By.ID, name)
        return bool(found) and found[0].is_enabled()
