"""Which client reads which stream in which way, and where must it fail whatever we do?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.e2e.clients.client_programs import Client, Job, Runtime
from tests.e2e.clients.recordings import Cutting, Ids, recorded_names

_PYTHON = {
    "openai chat": "openai-chat",
    "openai chat async": "openai-chat",
    "openai chat helper": "openai-chat",
    "openai responses": "openai-responses",
    "openai responses helper": "openai-responses",
    "anthropic": "anthropic",
    "anthropic helper": "anthropic",
    "google-genai": "gemini",
    "google-genai async": "gemini",
}
_NODE = {
    "openai chat": "openai-chat",
    "openai chat helper": "openai-chat",
    "openai responses": "openai-responses",
    "openai responses helper": "openai-responses",
    "@anthropic-ai/sdk": "anthropic",
    "@anthropic-ai/sdk helper": "anthropic",
    "@google/genai": "gemini",
}

#: The clients of one service, with its dialect, which is also the name of its recorded stream.
SDKS: Mapping[Client, str] = {
    **{Client(Runtime.PYTHON, name): dialect for name, dialect in _PYTHON.items()},
    **{Client(Runtime.NODE, name): dialect for name, dialect in _NODE.items()},
}

#: The clients that read any event stream.
PARSERS: tuple[Client, ...] = (
    Client(Runtime.PYTHON, "httpx-sse"),
    Client(Runtime.PYTHON, "sseclient-py"),
    Client(Runtime.NODE, "eventsource"),
    Client(Runtime.NODE, "eventsource-parser"),
    Client(Runtime.NODE, "@microsoft/fetch-event-source"),
)

_NO_IDS = "takes every line that is not data for JSON: fails on the first id line, with and without a proxy"
_LOST = "takes only blocks that begin with data: loses every event that begins with an id, with and without a proxy"

#: What no form of heartbeat can repair: these clients cannot read the recorded stream itself.
UNREADABLE: Mapping[tuple[Client, Ids], str] = {
    (Client(Runtime.PYTHON, "google-genai"), Ids.IDS): _NO_IDS,
    (Client(Runtime.PYTHON, "google-genai async"), Ids.IDS): _NO_IDS,
    (Client(Runtime.NODE, "@google/genai"), Ids.IDS): _LOST,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A client that reads a recorded stream. route: the first segment of the path, which tells the proxy what to do."""

    client: Client
    route: str
    stream: str
    ids: Ids
    cutting: Cutting

    def __str__(self) -> str:
        return f"{self.client}-{self.route}-{self.stream}-{self.ids}-{self.cutting}"

    @property
    def path(self) -> str:
        """Names this case and no other, also in the access log."""
        return f"/{self.route}/{self.client.segment}/{self.stream}/{self.ids}/{self.cutting}"

    def job(self, server: str) -> Job:
        return Job(self.client, server + self.path)

    def direct(self) -> "Case":
        """The same without a proxy."""
        return Case(self.client, "direct", self.stream, self.ids, self.cutting)


def _dialect_cases() -> Iterator[Case]:
    """Every client with the dialect ``generic`` and with that of its service, on streams with and without ids."""
    for client, dialect in SDKS.items():
        for route in ("generic", dialect):
            yield from (Case(client, route, dialect, ids, cutting) for ids in Ids for cutting in Cutting)
    for client in PARSERS:
        yield from (Case(client, "generic", "generic", ids, Cutting.EVENTS) for ids in Ids)
        yield from (Case(client, "generic", name, ids, Cutting.CUT) for ids in Ids for name in recorded_names())


def _form_cases() -> Iterator[Case]:
    """The forms that only their own clients understand."""
    for client, dialect in SDKS.items():
        if dialect != "gemini":
            yield from (Case(client, f"form-{dialect}", dialect, ids, Cutting.CUT) for ids in Ids)
        else:
            yield Case(client, "form-blank", dialect, Ids.PLAIN, Cutting.CUT)
    for client in PARSERS:
        yield from (Case(client, "form-event", "generic", ids, Cutting.CUT) for ids in Ids)


DIALECT_CASES: tuple[Case, ...] = tuple(_dialect_cases())
FORM_CASES: tuple[Case, ...] = tuple(_form_cases())
