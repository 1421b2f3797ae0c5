"""Does every example run with the command in its first line, and is its stream kept alive?"""

import re
import shlex
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess
from tests.support.stream_client import Request

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


def command_of(example: Path) -> list[str]:
    """What the first line says, but on a port that the kernel chooses."""
    line = example.read_text().splitlines()[0].removeprefix("# ")
    assert line.count("8000") == 1
    return shlex.split(line.replace("8000", "0"))


def test_every_framework_has_one() -> None:
    names = {"fastapi_native", "fastapi_streaming", "starlette_sse_starlette", "django_view", "quart_app"}
    assert {file.stem for file in FILES} == names | {"litestar_app", "aiohttp_app"}


@pytest.mark.parametrize("example", FILES, ids=lambda file: file.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 40


@pytest.mark.parametrize("example", FILES, ids=lambda file: file.stem)
def test_an_example_keeps_its_stream_alive_and_ends_when_asked(example: Path) -> None:
    post = "@app.post" in example.read_text()
    with ServerProcess(*command_of(example)) as server:
        with Request(
            server.url,
            "/chat",
            method="POST" if post else "GET",
            headers={"Content-Type": "application/json"} if post else {"Accept": "text/event-stream"},
            body=b'{"stream": true}' if post else None,
        ) as request:
            request.read()
        assert request.field("X-Accel-Buffering") == "no"
        assert re.search(rb"^: heartbeat\r?\n", request.body, re.MULTILINE), request.body
        assert re.search(rb"Hello.*world", request.body, re.DOTALL), request.body
        server.ask_to_end()
        server.wait()
    assert "Traceback" not in server.output.text
