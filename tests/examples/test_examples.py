"""Does every example run with the command in its first line, and is its stream kept alive?"""

import http.client
import re
import shlex
from pathlib import Path

import pytest

from tests.support.blocking_client import Request
from tests.support.server_process import ServerProcess

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


def is_answer(example: Path) -> bool:
    return "@app.post" in example.read_text()


def ask(server: ServerProcess, example: Path) -> Request:
    post = is_answer(example)
    event_source = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    return Request(
        server.url,
        "/chat",
        method="POST" if post else "GET",
        headers={"Content-Type": "application/json"} if post else event_source,
        body=b'{"stream": true}' if post else None,
    )


@pytest.mark.parametrize("example", FILES, ids=lambda file: file.stem)
def test_an_example_keeps_its_stream_alive(example: Path) -> None:
    with ServerProcess(*command_of(example)) as server:
        with ask(server, example) as request:
            request.read()
        assert request.field("X-Accel-Buffering") == "no"
        assert re.search(rb"^: heartbeat\r?\n", request.body, re.MULTILINE), request.body
        assert re.search(rb"Hello.*world", request.body, re.DOTALL), request.body
        server.ask_to_end()
        server.wait()
    assert "Traceback" not in server.output.text


@pytest.mark.parametrize("example", FILES, ids=lambda file: file.stem)
def test_an_example_ends_its_streams_well_when_it_is_asked_to_end(example: Path, tmp_path: Path) -> None:
    """With a model that would think for ten minutes: nothing but the drain comes to an end before."""
    patient = tmp_path / "patient" / example.name
    patient.parent.mkdir()
    patient.write_text(re.sub(r"sleep\([0-9.]+\)", "sleep(600)", example.read_text()))
    command = [word.replace("examples.", "patient.") for word in command_of(example)]
    command = [word.replace("examples", str(patient.parent)) for word in command]
    with ServerProcess(*command, path=[tmp_path]) as server, ask(server, example) as request:
        request.read_until(lambda body: b": heartbeat" in body)
        server.ask_to_end()
        if is_answer(example):  # it is let finish, and broken off when it does not in time
            with pytest.raises(http.client.IncompleteRead):
                request.read()
            assert b'"type": "drain"' in request.body
        else:
            request.read()
            assert re.search(rb"^retry: \d+", request.body, re.MULTILINE), request.body
        assert b"world" not in request.body
        server.wait()
    assert ("Traceback" in server.output.text) == is_answer(example)
