"""How do tests open a page in the real Chromium, and look at what it shows?"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from typing import TypeVar

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.programs import require

_T = TypeVar("_T")

# No sandbox, because tests also run as root in containers; the rest keeps it from calling home.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def chromium(*, width: int = 1280, height: int = 900, any_certificate: bool = False) -> Iterator[Chrome]:
    """A browser of its own, with an empty profile. Skips the test where Chromium or its driver is missing.

    any_certificate: it takes those that nobody it knows has signed.
    """
    options = ChromeOptions()
    options.accept_insecure_certs = any_certificate
    options.binary_location = require("chromium")
    with tempfile.TemporaryDirectory(prefix="sseproxy-chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        driver = Chrome(options=options, service=Service(executable_path=require("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def wait_for(driver: Chrome, condition: Callable[[Chrome], _T], *, limit: float = 60.0) -> _T:
    """The first true value of `condition`. selenium's TimeoutException: none within `limit` seconds."""
    return WebDriverWait(driver, limit, poll_frequency=0.1).until(condition)
