"""Which heartbeat form has been measured safe for the client that sent this request? (contract S7, ``auto``)

The table is data: each row names a client by header fields of its request, the form, and what goes wrong
with the others. Rows are tried in order; a client that no row knows gets the rule of the form ``auto``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sseproxy.core.headers import by_name
from sseproxy.core.heartbeat import HeartbeatForm


@dataclass(frozen=True, slots=True)
class KnownClient:
    """One row. headers: lower-case field name to a pattern that its value must match somewhere."""

    name: str
    headers: Mapping[str, re.Pattern[str]]
    form: HeartbeatForm
    reason: str

    def sent(self, headers: Mapping[str, str]) -> bool:
        for name, pattern in self.headers.items():
            value = headers.get(name)
            if value is None or not pattern.search(value):
                return False
        return True


def _row(name: str, form: HeartbeatForm, reason: str, **headers: str) -> KnownClient:
    patterns = {field.replace("_", "-"): re.compile(text, re.IGNORECASE) for field, text in headers.items()}
    return KnownClient(name, patterns, form, reason)


KNOWN_CLIENTS: tuple[KnownClient, ...] = (
    _row(
        "google-genai",
        HeartbeatForm.BLANK,
        "parses every line that is not data as JSON (Python), loses the event after a comment line (JavaScript)",
        user_agent=r"google-genai-sdk",
    ),
    _row(
        "Google API clients",
        HeartbeatForm.BLANK,
        "as google-genai",
        x_goog_api_client=r".",
    ),
    _row(
        "SDKs made with Stainless (openai, anthropic, groq, …)",
        HeartbeatForm.COMMENT_LINE,
        "the Python decoder dispatches an empty event on a blank line once an id is set",
        x_stainless_lang=r".",
    ),
    _row(
        "httpx-sse and other clients on httpx",
        HeartbeatForm.COMMENT_LINE,
        "httpx-sse dispatches an empty event on a blank line once an id is set",
        user_agent=r"^python-httpx2?/",
    ),
    _row(
        "clients on requests",
        HeartbeatForm.COMMENT_LINE,
        "sseclient dispatches an empty event on every blank line",
        user_agent=r"^python-requests/",
        accept=r"text/event-stream",
    ),
    _row(
        "fetch libraries in a browser or in Node",
        HeartbeatForm.COMMENT_LINE,
        "@microsoft/fetch-event-source dispatches an empty event on every blank line; EventSource takes either",
        user_agent=r"^(Mozilla/|node$|undici$)",
        accept=r"text/event-stream",
    ),
)


_LOOKED_AT = {name.encode("ascii") for client in KNOWN_CLIENTS for name in client.headers}


def form_for_fields(fields: Iterable[tuple[bytes, bytes]]) -> HeartbeatForm | None:
    """`form_for_client` for the header fields of a request as they came; those of one name count as one."""
    found = by_name(field for field in fields if field[0].lower() in _LOOKED_AT)
    return form_for_client({name.decode("ascii"): b", ".join(said).decode("latin-1") for name, said in found.items()})


def form_for_client(headers: Mapping[str, str]) -> HeartbeatForm | None:
    """The form for the client that sent `headers` (lower-case names), or ``None`` if no row knows it."""
    for client in KNOWN_CLIENTS:
        if client.sent(headers):
            return client.form
    return None
