"""Does the fourth page of ``sseproxy demo`` show an answer that survives a reload, beside one that does not?"""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from sseproxy.demo.resume.app import ANSWER
from tests.support.browser import chromium, wait_for
from tests.support.demo_process import running_demo
from tests.support.programs import require

_LINE = "an answer that survives a reload"
_WHOLE = " ".join(ANSWER.split())


@pytest.fixture(params=["nginx", "embedded"])
def page(request: pytest.FixtureRequest) -> Iterator[Chrome]:
    """The page, which asks by itself in both frames."""
    if request.param == "nginx":
        require("nginx")
    with running_demo(_LINE, "--gateway", request.param) as url, chromium() as driver:
        driver.get(url)
        yield driver


def _look_at(page: Chrome, frame: str) -> None:
    page.switch_to.default_content()
    page.switch_to.frame(page.find_element(By.ID, frame))


def _text(page: Chrome, name: str) -> str:
    return page.find_element(By.ID, name).text


def _wait_for_words(page: Chrome, number: int) -> None:
    wait_for(page, lambda _: int(_text(page, "words")) >= number)


def _answer(page: Chrome) -> str:
    return page.find_element(By.CSS_SELECTOR, "#messages .assistant").text


def test_a_reload_loses_the_one_and_not_the_other(page: Chrome) -> None:
    for frame in ("direct", "kept"):
        _look_at(page, frame)
        _wait_for_words(page, 3)
    page.switch_to.default_content()
    page.find_element(By.ID, "reload").click()
    _look_at(page, "kept")
    wait_for(page, lambda _: _text(page, "loaded") == "2 times")
    wait_for(page, lambda _: _text(page, "status") == "Whole.")
    assert _answer(page) == _WHOLE
    assert _text(page, "asked") == "1 time"
    _look_at(page, "direct")
    wait_for(page, lambda _: _text(page, "status") == "Not whole: it was stopped, or it broke off.")
    assert _WHOLE.startswith(_answer(page))
    assert _answer(page) != _WHOLE


def test_stop_stops_it(page: Chrome) -> None:
    _look_at(page, "kept")
    _wait_for_words(page, 3)
    page.find_element(By.ID, "stop").click()
    wait_for(page, lambda _: _text(page, "status") == "Not whole: it was stopped, or it broke off.")
    assert _answer(page) != _WHOLE
    assert "DELETE api/chat/…/stream: 204" in _text(page, "wire")


def test_the_page_fits_a_phone() -> None:
    with running_demo(_LINE, "--gateway", "embedded") as url, chromium() as driver:
        metrics = {"width": 390, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(url)
        _look_at(driver, "kept")
        _wait_for_words(driver, 1)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        driver.switch_to.default_content()
        assert driver.execute_script("return document.documentElement.scrollWidth") == 390
