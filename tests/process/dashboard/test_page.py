"""Is the page one file that runs nothing but its own script, and does it know each reason?"""

import hashlib
import re
from base64 import b64encode

from sseproxy.core.stream.transfer import CloseReason
from sseproxy.process.dashboard import page
from sseproxy.process.dashboard.history import ORDERLY, SERVER_ERROR
from sseproxy.process.dashboard.view import Order

TEXT = page.load().body.decode()
POLICY = page.load().headers["Content-Security-Policy"]


def content(element: str) -> str:
    [found] = re.findall(rf"<{element}>(.*?)</{element}>", TEXT, re.DOTALL)
    return str(found)


def test_only_its_own_script_and_style_are_let_in() -> None:
    for element in ("script", "style"):
        digest = b64encode(hashlib.sha256(content(element).encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in POLICY
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert rule in POLICY
    assert "unsafe" not in POLICY
    assert not re.search(r"""\sstyle=|\son\w+=["']""", TEXT.partition("<script>")[0]), "the policy would refuse these"


def test_it_needs_nothing_from_elsewhere() -> None:
    assert re.findall(r"(?:src|href)=[\"']([^\"']{0,20})", TEXT) == ["data:image/svg+xml,%", "#streams"]
    assert set(re.findall(r"https?://[^'\"\s)]+", TEXT)) == {"http://www.w3.org/2000/svg"}, "a name, not an address"


def test_nothing_is_inserted_as_markup() -> None:
    script = content("script")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "setHTML"):
        assert way not in script


def test_it_knows_each_reason_and_each_order() -> None:
    script, style = content("script"), content("style")
    for reason in CloseReason:
        assert f"{reason.value}: " in script
        assert len(re.findall(rf"--{reason.value}: ", style)) == 2, "a colour, light and dark"
    assert f'"{SERVER_ERROR}": ' in script
    [orderly] = re.findall(r"ORDERLY = new Set\(\[(.*?)\]", script)
    assert set(re.findall(r"\w+", orderly)) == ORDERLY
    assert {*re.findall(r'data-order="(\w+)"', TEXT), "limit"} == {order.value for order in Order}
    [words] = re.findall(r"const by = \{(.*?)\}", script)
    assert set(re.findall(r"(\w+):", words)) == {order.value for order in Order}
