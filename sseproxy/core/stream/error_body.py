"""What does the body of an error response say, in whatever shape a service has for it?"""

import json
import re
from collections.abc import Mapping
from typing import Any

from sseproxy.core.limits import ERROR_BODY
from sseproxy.core.stream.events import LINE_END


def read_error(body: bytes) -> Mapping[str, Any]:
    """Return the members of the error in `body`: message, type, param, code, as far as they are there.

    Understood: ``{"error": {…}}`` (OpenAI, Anthropic, JSON-RPC; a list of it: Google), ``{"error": "text"}`` (Ollama),
    ``{"object": "error", "message": …}`` (vLLM), ``{"detail": "text"}`` (FastAPI), and each of them as an event.
    """
    parsed = _parsed_json(body) if len(body) < ERROR_BODY else _cut_members(body)
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return {}
    error = parsed.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {**parsed, "message": parsed.get("message") or error}
    if parsed.get("object") == "error" or isinstance(parsed.get("message"), str):
        return parsed
    detail = parsed.get("detail")
    if isinstance(detail, dict):
        return detail
    return {"message": detail} if isinstance(detail, str) else {}


_MEMBER = re.compile(rb'"(message|type|param|code|status)"\s*:\s*("(?:[^"\\]|\\.){0,4096}"|-?\d{1,9}\b)')


def _cut_members(body: bytes) -> dict[str, Any]:
    """Return the members of an error in a body that was cut, and can be parsed no more: the first of each name."""
    found: dict[str, Any] = {}
    for name, value in _MEMBER.findall(body):
        try:
            found.setdefault(name.decode(), json.loads(value))
        except ValueError:
            continue
    return {"error": found} if "message" in found else {}


def _parsed_json(body: bytes) -> Any:
    """Return the JSON of `body`, or of its first event that has any."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    for block in re.split(rb"(?:\r\n|\r|\n){2}", body):
        lines = [line for line in LINE_END.split(block) if line.startswith(b"data:")]
        try:
            return json.loads(b"\n".join(line[len(b"data:") :] for line in lines))
        except (ValueError, RecursionError):
            continue
    return None
