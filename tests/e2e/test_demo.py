"""Does ``sseproxy demo`` show the gateway timeout and its cure, as a table and in the browser?"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from sseproxy.demo.ports import listener, port_of
from tests.support.browser import chromium, wait_for
from tests.support.patience import LIMIT
from tests.support.programs import require

_ROOT = Path(__file__).parents[2]
_OVER = {"failed", "whole"}


@pytest.fixture(params=["nginx", "embedded"])
def gateway(request: pytest.FixtureRequest) -> str:
    if request.param == "nginx":
        require("nginx")
    return str(request.param)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sseproxy", "demo", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT)}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = _command(*arguments)
    return subprocess.run(command, check=False, env=_environment(), capture_output=True, text=True, timeout=120)


def test_check_prints_both_ways_and_exits_with_0(gateway: str) -> None:
    done = _run("--check", "--gateway", gateway)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "30 times faster than in production, where nginx waits for 60 s by default"
    assert lines[1].startswith("gateway: nginx" if gateway == "nginx" else "gateway: a stand-in for nginx")
    assert lines[-1] == "  sseproxy serve --upstream http://127.0.0.1:9000 --before-response 10s"
    rows = [re.split(r"  +", line) for line in lines[-12:-4]]
    assert [(row[1], row[2], row[-1]) for row in rows] == [
        ("direct", "504", "never began"),
        ("through sseproxy", "200", "whole"),
        ("direct", "200", "cut"),
        ("through sseproxy", "200", "whole"),
        ("direct", "200", "cut"),  # JSON lines
        ("through sseproxy", "200", "whole"),
        ("direct", "504", "never began"),  # one JSON text
        ("through sseproxy", "200", "whole"),
    ]
    assert all(int(row[5]) > 0 for row in rows[1::2]), "whole without a heartbeat"


@pytest.mark.parametrize("gateway", ["nginx", "embedded"])
def test_it_listens_where_it_should(gateway: str) -> None:
    if gateway == "nginx":
        require("nginx")
    with _demo("--gateway", gateway, "--host", "0.0.0.0") as url:
        port = int(url.rpartition(":")[2].rstrip("/"))
        assert url == f"http://127.0.0.1:{port}/"  # an address that a browser can open
        with contextlib.closing(socket.create_connection(("127.0.0.2", port), timeout=LIMIT)):
            pass


def test_a_name_that_is_no_address_is_told_in_one_line() -> None:
    done = _run("--host", "no-such-name.invalid", "--gateway", "embedded")
    assert done.returncode == 1
    assert re.fullmatch(r"sseproxy demo: cannot listen on no-such-name\.invalid:0: .+\n", done.stderr)


def test_a_taken_port_is_told_in_one_line() -> None:
    with contextlib.closing(listener()) as taken:
        done = _run("--port", str(port_of(taken)), "--gateway", "embedded")
    assert done.returncode == 1
    assert re.fullmatch(r"sseproxy demo: cannot listen on 127\.0\.0\.1:\d+: Address already in use\n", done.stderr)


@contextlib.contextmanager
def _demo(*arguments: str) -> Iterator[str]:
    """The URL of a running demo; Ctrl-C at the end, after which it must have ended cleanly."""
    process = subprocess.Popen(
        _command(*arguments), env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        found = next(filter(None, (re.search(r"http://\S+", line) for line in process.stdout)))
        yield found[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()


def _outcomes(driver: Chrome) -> dict[str, str]:
    ways = driver.find_elements(By.CSS_SELECTOR, "section.way")
    return {way.get_attribute("id") or "": way.get_attribute("data-outcome") or "" for way in ways}


def _over(driver: Chrome) -> dict[str, str]:
    """The outcomes, once both ways have one."""
    outcomes = _outcomes(driver)
    return outcomes if outcomes and set(outcomes.values()) <= _OVER else {}


def _text(driver: Chrome, selector: str) -> str:
    return driver.find_element(By.CSS_SELECTOR, selector).text


def test_the_page_shows_both_ways(gateway: str) -> None:
    with _demo("--gateway", gateway) as url, chromium() as driver:
        driver.get(url)
        assert wait_for(driver, _over) == {"way-direct": "failed", "way-kept": "whole"}
        assert "nginx" in _text(driver, "[data-fact=gateway]")
        assert _text(driver, "#way-direct .status").startswith("504 Gateway Time-out")
        assert _text(driver, "#way-kept .status").startswith("Whole")
        assert _text(driver, "#way-kept .answer").endswith("starts to count again.")
        assert int(_text(driver, "#way-kept [data-count=heartbeats]")) > 0
        assert len(driver.find_elements(By.CSS_SELECTOR, "#way-kept .line .token")) == int(
            _text(driver, "#way-kept [data-count=tokens]")
        )

        Select(driver.find_element(By.ID, "model")).select_by_value("thinks-between")
        driver.find_element(By.CSS_SELECTOR, "button").click()
        wait_for(driver, lambda _: not _over(driver))
        assert wait_for(driver, _over) == {"way-direct": "failed", "way-kept": "whole"}
        assert _text(driver, "#way-direct .status").startswith("Cut")
        assert _text(driver, "#way-direct [data-count=tokens]") == "12"


def test_no_word_is_claimed_before_one_has_come() -> None:
    with _demo("--gateway", "embedded") as url, chromium() as driver:
        driver.get(url)
        wait_for(driver, _outcomes)
        driver.execute_script(
            "const way = document.getElementById('way-kept'); window.said = [];"
            "const note = () => said.push([way.querySelector('.status').textContent,"
            " way.querySelector('.answer').textContent !== '']);"
            "new MutationObserver(note).observe(way.querySelector('.status'), {childList: true});"
            "document.querySelector('#controls button').click();"
        )
        wait_for(driver, lambda _: not _over(driver))
        wait_for(driver, _over)
        said = driver.execute_script("return said.map(([text, words]) => `${text} ${words}`)")
        assert "200, silent: heartbeats keep it alive false" in said
        assert "200, the words arrive… true" in said
        assert "200, the words arrive… false" not in said
        assert "30 times faster" in _text(driver, "header")
        assert "sseproxy serve --upstream" in _text(driver, ".next")


def test_the_page_fits_a_phone_with_both_outcomes_in_one_look() -> None:
    with _demo("--gateway", "embedded") as url, chromium() as driver:
        phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        driver.get(url)
        wait_for(driver, _outcomes)
        wait_for(driver, lambda _: _text(driver, "#way-direct .status").startswith("504"))
        bottom = "return document.querySelector('#way-kept dl').getBoundingClientRect().bottom"
        assert driver.execute_script(bottom) < 740  # of a small phone
        for width in (390, 360):
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**phone, "width": width})
            assert driver.execute_script("return document.documentElement.scrollWidth") == width


def test_ctrl_c_ends_the_demo_while_an_answer_is_under_way() -> None:
    with _demo("--gateway", "embedded") as url, chromium() as driver:
        driver.get(url)
        wait_for(driver, lambda _: _outcomes(driver).get("way-kept") == "streaming")
