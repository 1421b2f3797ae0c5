"""How does a test open an `EventSource` in the page, and read what it told?"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from selenium.webdriver import Chrome

from tests.e2e.browser.stage import Stage, Way

SCRIPT = (Path(__file__).parent / "page.js").read_text()

#: What an `EventSource` told: `[type, readyState]` or `[type, data, lastEventId]`, and the origin where it is another.
Log = list[list[Any]]

_SCRIPT_LIMIT = 90

OPEN: list[Any] = ["open", 1]
AGAIN: list[Any] = ["error", 0]
CLOSED: list[Any] = ["error", 2]


_BROKE_OFF = {"type": "upstream_error", "status": 502, "detail": "the response broke off"}
_BROKE_OFF_TOO = {"message": "the response broke off", "type": "upstream_error", "code": 502}


def broke_off(last_event_id: str = "") -> list[Any]:
    """What sseproxy tells of a service that breaks off between two events."""
    return message(json.dumps({**_BROKE_OFF, "error": _BROKE_OFF_TOO}), last_event_id, "error")


def message(data: str, last_event_id: str = "", type_: str = "message") -> list[Any]:
    return [type_, data, last_event_id]


@dataclass(frozen=True, slots=True)
class Page:
    """The page, open in the browser at the way's first origin."""

    driver: Chrome
    stage: Stage
    way: Way

    def load(self, origin: str | None = None) -> None:
        """Open it, with a cookie. origin: where else than at the first one."""
        self.driver.set_script_timeout(_SCRIPT_LIMIT)
        self.driver.get(f"{origin or self.way.here}/page")
        self.driver.execute_script("document.cookie = 'token=s3cret; path=/'")

    def open(self, url: str, *, name: str = "source", **options: object) -> None:
        """A new `EventSource`; ``{here}`` and ``{other}`` in `url` are the two origins. options: those of page.js."""
        self.driver.execute_script("watch(...arguments)", name, self.way.filled(url), options)

    def log(self, name: str = "source") -> Log:
        """What has been told so far."""
        return self._told(self.driver.execute_script("return watched[arguments[0]].log", name))

    def over(self, name: str = "source") -> Log:
        """What was told in all, once the `EventSource` is CLOSED."""
        script = "const [name, done] = arguments; watched[name].over.then(() => done(watched[name].log))"
        return self._told(self.driver.execute_async_script(script, name))

    def times(self, name: str = "source") -> list[float]:
        """When each of these was told, in milliseconds."""
        return cast("list[float]", self.driver.execute_script("return watched[arguments[0]].times", name))

    def close(self, name: str = "source") -> None:
        self.driver.execute_script("watched[arguments[0]].source.close()", name)

    def ready_state(self, name: str = "source") -> int:
        return cast(int, self.driver.execute_script("return watched[arguments[0]].source.readyState", name))

    def run(self, script: str) -> Any:
        """Run the body of an async function in the page, and return what it returns."""
        wrapped = f"const done = arguments[0]; (async () => {{ {script} }})().then(done, (error) => done(`${{error}}`))"
        return self.driver.execute_async_script(wrapped)

    def _told(self, log: Log) -> Log:
        """With the origins' names in place of the origins."""
        names = {self.way.here: "here", self.way.other: "other"}
        return [[names.get(part, part) if isinstance(part, str) else part for part in entry] for entry in log]
