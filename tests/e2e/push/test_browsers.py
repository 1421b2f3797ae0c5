"""Do browsers behind a gateway miss nothing, and see nothing twice, when the replica that they hang on is killed?"""

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from sseproxy.demo.nginx import unprivileged
from sseproxy.demo.ports import listener, port_of
from tests.examples.push_examples import REDIS_PUSH
from tests.support.browser import chromium, wait_for
from tests.support.nginx import nginx_running
from tests.support.processes import wait_until
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess
from tests.support.sseproxy_process import SseproxyProcess

USERS = ("ann", "bob")

#: As docs/push.md has it. The second is asked where the first is not there, so the test knows which one to kill.
_HTTP = """
    upstream replicas {{ server {first}; server {second} backup; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Stand:
    """examples/redis_push: its app, and two replicas behind nginx."""

    redis: RedisServer
    first: SseproxyProcess
    second: SseproxyProcess
    url: str

    def send(self, key: str, text: str) -> None:
        self.redis.cli("XADD", key, "*", "data", json.dumps({"from": "x", "text": text}))

    def listening(self, channel: str) -> int:
        """Return how many replicas listen to a channel."""
        return int(self.redis.cli("PUBSUB", "NUMSUB", channel)[1])


@pytest.fixture
def on() -> Iterator[Stand]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        environment = {"REDIS_URL": redis.url}
        app = ServerProcess("python", str(REDIS_PUSH / "app.py"), "0", environment=environment)
        environment["APP_URL"] = stack.enter_context(app).url
        command = ("-c", str(REDIS_PUSH / "sseproxy.yaml"), "--listen", "127.0.0.1:0")
        first = SseproxyProcess(*command, environment=environment).__enter__()
        stack.callback(first.stop)  # whatever its exit code: it is killed
        second = stack.enter_context(SseproxyProcess(*command, environment=environment))
        sock = listener()
        url = f"http://127.0.0.1:{port_of(sock)}"
        addresses = [each.url.removeprefix("http://") for each in (first, second)]
        http = _HTTP.format(first=addresses[0], second=addresses[1], port=port_of(sock))
        stack.enter_context(nginx_running(unprivileged(http), sock))
        yield Stand(redis, first, second, url)


def enter(browser: Chrome, url: str, user: str) -> None:
    browser.get(f"{url}/")
    browser.find_element(By.CSS_SELECTOR, f"button[value={user}]").click()
    wait_for(browser, lambda driver: driver.find_element(By.ID, "who").text == user.title())


def shown(browser: Chrome) -> list[str]:
    """Return what the page shows in its inbox, the oldest first."""
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#inbox li p")][::-1]


def test_browsers_go_to_the_other_replica_by_themselves(on: Stand) -> None:
    with chromium() as ann, chromium() as bob:
        browsers = dict(zip(USERS, (ann, bob), strict=True))
        for user, browser in browsers.items():
            enter(browser, on.url, user)
            on.send(f"inbox:{user}", f"before, {user}")
            wait_for(browser, lambda driver, user=user: shown(driver) == [f"x: before, {user}"])  # type: ignore[misc]
            wait_until(lambda user=user: on.listening(f"typing:{user}") == 1)  # type: ignore[misc]
        on.first.send_signal(signal.SIGKILL)
        assert on.first.wait() == -signal.SIGKILL
        for number in range(20):  # while they are away, and while they come back
            for user in USERS:
                on.send(f"inbox:{user}", f"{number}, {user}")
        for user, browser in browsers.items():
            expected = [f"x: before, {user}", *(f"x: {number}, {user}" for number in range(20))]
            wait_for(browser, lambda driver: len(shown(driver)) >= 21)
            assert shown(browser) == expected
        on.send("news", "for all")
        for user, browser in browsers.items():
            wait_for(browser, lambda driver: shown(driver)[-1] == "x: for all")
            assert len(shown(browser)) == 22
            wait_until(lambda user=user: on.listening(f"typing:{user}") == 1)  # type: ignore[misc]
            on.redis.cli("PUBLISH", f"typing:{user}", "carol")
            wait_for(browser, lambda driver: driver.find_element(By.ID, "typing").text == "carol is typing…")
