"""Does the third page of ``sseproxy demo`` bring each message to its user, also to one who was away?"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.support.browser import chromium, wait_for
from tests.support.demo_process import running_demo
from tests.support.programs import require

_ANN, _BOB = 0, 1

#: What the demo says of this page.
_LINE = "a message to one user, by Redis"


@pytest.fixture(params=["nginx", "embedded"])
def page(request: pytest.FixtureRequest) -> Iterator[Chrome]:
    """The page, with both users connected."""
    require("redis-server")
    if request.param == "nginx":
        require("nginx")
    with running_demo(_LINE, "--gateway", request.param) as url, chromium() as driver:
        driver.get(url)
        for user in (_ANN, _BOB):
            _look_at(driver, user)
            wait_for(driver, lambda _: _text(driver, "status") == "connected")
        yield driver


def _look_at(driver: Chrome, user: int) -> None:
    driver.switch_to.default_content()
    driver.switch_to.frame(driver.find_elements(By.TAG_NAME, "iframe")[user])


def _text(driver: Chrome, name: str) -> str:
    return driver.find_element(By.ID, name).text


def _click(driver: Chrome, name: str) -> None:
    driver.find_element(By.ID, name).click()


def _send(driver: Chrome, to: str, text: str) -> str:
    """Write in the frame that is looked at; return the id that Redis gave the message."""
    Select(driver.find_element(By.ID, "to")).select_by_value(to)
    driver.find_element(By.ID, "text").send_keys(text)
    driver.find_element(By.CSS_SELECTOR, "#form .main").click()
    pattern = rf"XADD \S+ MAXLEN '~' 1000 '\*' data '.*{text}.*'\n→ (\S+)"
    return wait_for(driver, lambda _: re.search(pattern, _text(driver, "wire")))[1]  # type: ignore[index]


def _inbox(driver: Chrome) -> list[list[str]]:
    """Of each message, the newest first: its text, its id, and that it came in absence."""
    return [item.text.split("\n") for item in driver.find_elements(By.CSS_SELECTOR, "#inbox li")]


def _texts(driver: Chrome) -> list[str]:
    return [item[0] for item in _inbox(driver)]


def test_each_user_gets_what_is_for_that_user(page: Chrome) -> None:
    _look_at(page, _ANN)
    to_bob = _send(page, "bob", "for Bob")
    to_all = _send(page, "all", "for all")
    wait_for(page, lambda _: _texts(page) == ["ann: for all"])
    _look_at(page, _BOB)
    wait_for(page, lambda _: len(_inbox(page)) == 2)
    news, own = _inbox(page)
    assert (own, news) == (["ann: for Bob", f"V.{to_bob}.0-0"], ["ann: for all", f"V.{to_bob}.{to_all}"])


def test_a_user_who_was_away_gets_what_came_meanwhile_once(page: Chrome) -> None:
    _look_at(page, _ANN)
    first = _send(page, "bob", "before")
    _look_at(page, _BOB)
    wait_for(page, lambda _: _texts(page) == ["ann: before"])
    _click(page, "go")
    _look_at(page, _ANN)
    _send(page, "bob", "meanwhile")
    last = _send(page, "bob", "and again")
    _look_at(page, _BOB)
    assert _texts(page) == ["ann: before"]
    _click(page, "go")
    wait_for(page, lambda _: len(_inbox(page)) >= 3)
    again, meanwhile, before = _inbox(page)
    assert [again[0], meanwhile[0], before[0]] == ["ann: and again", "ann: meanwhile", "ann: before"]
    assert (again[1], again[2], meanwhile[2]) == (f"V.{last}.0-0", "while you were away", "while you were away")
    assert f"GET inbox?last-event-id=V.{first}.0-0" in _text(page, "wire")


def test_who_looks_sees_that_another_one_types(page: Chrome) -> None:
    _look_at(page, _ANN)
    page.find_element(By.ID, "text").send_keys("w")
    _look_at(page, _BOB)
    wait_for(page, lambda _: _text(page, "typing") == "ann is typing…")


def test_the_page_fits_a_phone() -> None:
    require("redis-server")
    with running_demo(_LINE, "--gateway", "embedded") as url, chromium() as driver:
        metrics = {"width": 390, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(url)
        _look_at(driver, _BOB)
        wait_for(driver, lambda _: _text(driver, "status") == "connected")
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        driver.switch_to.default_content()
        assert driver.execute_script("return document.documentElement.scrollWidth") == 390


def test_where_there_is_no_redis_a_line_says_what_brings_the_page(tmp_path: Path) -> None:
    with running_demo(_LINE, "--gateway", "embedded", PATH=str(tmp_path)) as said:
        assert said == "the page needs Redis: apt install redis-server, or brew install redis"
