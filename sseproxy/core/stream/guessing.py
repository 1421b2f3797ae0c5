"""Which service is a request for, as far as its head can tell?"""

import re
from collections.abc import Mapping, Sequence

from sseproxy.core.stream.dialects import Dialect

_ENDINGS: tuple[tuple[str, Dialect], ...] = (
    ("/chat/completions", Dialect.OPENAI_CHAT),
    ("/completions", Dialect.OPENAI_COMPLETIONS),
    ("/responses", Dialect.OPENAI_RESPONSES),
    (":streamGenerateContent", Dialect.GEMINI),
)
_OLLAMA = re.compile(rb"^ollama", re.IGNORECASE)


def guessed_dialect(method: str, path: str, fields: Mapping[bytes, Sequence[bytes]], *, is_mcp: bool) -> Dialect:
    """Guess the service by the request. The paths are those of POST requests. is_mcp: it is one of MCP."""
    if method == "POST":
        path = path.removesuffix("/")
        for ending, dialect in _ENDINGS:
            if path.endswith(ending):
                return dialect
        if path.endswith("/messages") and b"anthropic-version" in fields:
            return Dialect.ANTHROPIC
    if is_mcp:
        return Dialect.MCP
    if _OLLAMA.match(fields.get(b"user-agent", (b"",))[0]):
        return Dialect.OLLAMA
    if b"anthropic-version" in fields:
        return Dialect.ANTHROPIC
    if b"x-goog-api-client" in fields or b"x-goog-api-key" in fields:
        return Dialect.GEMINI
    return Dialect.GENERIC
