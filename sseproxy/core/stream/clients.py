"""Which heartbeat has been measured safe for the client that sent this request?

The table is data: each row names a client by header fields of its request, the form, and what goes wrong with the
others, with the source of its parser where that was read rather than run. Rows are tried in order; a client that no
row names gets the rule of the form ``auto``.
"""

import re
from collections.abc import Mapping, Sequence

from sseproxy.core.frozen import frozen
from sseproxy.core.stream.dialects import Dialect
from sseproxy.core.stream.heartbeat import HeartbeatForm


@frozen
class KnownClient:
    """One row.

    fields: lower-case field name to a pattern that its value must match somewhere. event: name and data of the
    heartbeat, for the form ``event``. service: the only one whose streams may carry that event. takes_retry: a
    ``retry`` field does no harm. takes_ids: nor does an ``id`` field.
    """

    name: str
    fields: Mapping[bytes, re.Pattern[bytes]]
    form: HeartbeatForm
    reason: str
    event: tuple[str, str] | None = None
    service: Dialect | None = None
    takes_retry: bool = True
    source: str = ""
    takes_ids: bool = True

    def sent(self, fields: Mapping[bytes, Sequence[bytes]]) -> bool:
        """True if this client sent a request with these fields, given by lower-case name."""
        for name, pattern in self.fields.items():
            values = fields.get(name)
            if values is None or not pattern.search(values[0] if len(values) == 1 else b", ".join(values)):
                return False
        return True


def _row(
    name: str,
    form: HeartbeatForm,
    reason: str,
    *,
    event: tuple[str, str] | None = None,
    service: Dialect | None = None,
    takes_retry: bool = True,
    source: str = "",
    takes_ids: bool = True,
    **fields: str,
) -> KnownClient:
    patterns = {
        field.replace("_", "-").encode(): re.compile(text.encode(), re.IGNORECASE) for field, text in fields.items()
    }
    return KnownClient(name, patterns, form, reason, event, service, takes_retry, source, takes_ids)


KNOWN_CLIENTS: tuple[KnownClient, ...] = (
    _row(
        "google-genai",
        HeartbeatForm.BLANK,
        "parses every line that is not data as JSON (Python), loses the event after a comment line (JavaScript)",
        takes_ids=False,
        user_agent=r"google-genai-sdk",
    ),
    _row(
        "Google API clients",
        HeartbeatForm.BLANK,
        "as google-genai",
        takes_ids=False,
        x_goog_api_client=r".",
    ),
    _row(
        "Codex CLI",
        HeartbeatForm.EVENT,
        "its watchdog counts events, comments do not stop it; events of types that it does not use are passed over",
        event=("keepalive", '{"type":"keepalive"}'),
        service=Dialect.OPENAI_RESPONSES,
        user_agent=r"^codex",
    ),
    _row(
        "go-openai",
        HeartbeatForm.BLANK,
        "after a comment the error that follows reads 'unexpected end of JSON input'",
        source="https://github.com/sashabaranov/go-openai/blob/master/stream_reader.go",
        user_agent=r"^Go-http-client/",
        accept=r"^text/event-stream$",
    ),
    _row(
        "MCP's Java SDK, and clients of Spring AI",
        HeartbeatForm.COMMENT_LINE,
        "a comment block counts as an event, and the reader stops after 256 of them; a retry field is an error",
        takes_retry=False,
        source="https://github.com/modelcontextprotocol/java-sdk, client/transport/ResponseSubscribers.java",
        user_agent=r"^(Java-http-client|ReactorNetty)/",
        accept=r"text/event-stream",
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


def find_client(fields: Mapping[bytes, Sequence[bytes]]) -> KnownClient | None:
    """Return the row of the client that sent a request with these fields, given by lower-case name."""
    for client in KNOWN_CLIENTS:
        if client.sent(fields):
            return client
    return None


#: Where npm's eventsource and MCP's TypeScript SDK run. Their eventsource-parser hands out an id only with data.
_SCRIPT_HOSTS = re.compile(rb"^(node$|undici$|Deno/|Bun/)")


def drops_ids_without_data(fields: Mapping[bytes, Sequence[bytes]]) -> bool:
    """Return True if the client that sent these fields may forget an id that comes without data."""
    return _SCRIPT_HOSTS.match(fields.get(b"user-agent", (b"",))[0]) is not None
