"""What does a browser get when it opens the dashboard, and what may the page do there?"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files

from sseproxy.core.frozen import frozen


@frozen
class Page:
    """The page, and the header fields that go with it."""

    body: bytes
    headers: Mapping[str, str]


def load() -> Page:
    """Read the page of the package.

    Its own script and style are named by their digests, and nothing else runs: whatever a client puts into a path or a
    name, no browser takes it for code (CSP level 3). Scripts cannot even write markup (Trusted Types).
    """
    text = (files("sseproxy.process.dashboard") / "page.html").read_text(encoding="utf-8")
    policy = [
        "default-src 'none'",
        f"script-src {digest_of(text, 'script')}",
        f"style-src {digest_of(text, 'style')}",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Page(text.encode(), headers)


def digest_of(text: str, element: str) -> str:
    """Return how a policy names the content of the only `element` of the page, byte for byte."""
    content = text.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
