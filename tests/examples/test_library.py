"""Do the apps with the proxy inside run with the commands in their first lines, and end well?"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blocking_client import Request, fetch
from tests.support.processes import wait_until
from tests.support.server_process import ServerProcess

FOLDER = Path(__file__).parents[2] / "examples" / "library"
APPS = sorted(FOLDER.glob("*_app.py"))


def command_of(example: Path) -> list[str]:
    """What the first line says, but on a port that the kernel chooses."""
    line = example.read_text().splitlines()[0].removeprefix("# ")
    return shlex.split(re.sub(r"\b[89]000\b", "0", line))


@pytest.fixture(scope="module")
def service() -> Iterator[ServerProcess]:
    with ServerProcess(*command_of(FOLDER / "service.py")) as service:
        yield service


@pytest.fixture(params=APPS, ids=lambda file: file.stem)
def app(request: pytest.FixtureRequest, service: ServerProcess) -> Iterator[ServerProcess]:
    with ServerProcess(*command_of(request.param), environment={"SERVICE": service.url}) as app:
        yield app


def chat(app: ServerProcess) -> Request:
    fields = {"Content-Type": "application/json", "Cookie": "session=ann"}
    return Request(app.url, "/v1/chat/completions", method="POST", headers=fields, body=b'{"stream": true}')


def test_its_streams_are_kept_alive_before_the_response_and_within_it(app: ServerProcess) -> None:
    with chat(app) as request:
        request.read()
    assert request.status == 200
    before, _, behind = request.body.partition(b"Hello")
    assert b": heartbeat\n" in before
    assert b": heartbeat\n" in behind
    assert behind.endswith(b"data: [DONE]\n\n")
    app.ask_to_end()
    app.wait()
    assert "Traceback" not in app.output.text


def test_everything_else_goes_through_it_too(app: ServerProcess) -> None:
    answer = fetch(app.url, "/v1/models", headers={"Cookie": "session=ann"})
    assert json.loads(answer.body)["data"][0]["id"] == "a-model"


def test_an_answer_may_finish_when_the_app_is_asked_to_end(app: ServerProcess) -> None:
    with chat(app) as request:
        request.read_until(lambda body: b": heartbeat" in body)
        app.ask_to_end()
        request.read()
    assert request.body.endswith(b"data: [DONE]\n\n")
    app.wait()
    assert "Traceback" not in app.output.text


def test_the_app_sees_its_streams(service: ServerProcess) -> None:
    with ServerProcess(*command_of(FOLDER / "fastapi_app.py"), environment={"SERVICE": service.url}) as app:
        assert json.loads(fetch(app.url, "/health").body) == {"status": "ready", "open_streams": 0}
        with chat(app) as request:
            request.read_until(lambda body: b": heartbeat" in body)
            assert json.loads(fetch(app.url, "/health").body)["open_streams"] == 1
        wait_until(lambda: json.loads(fetch(app.url, "/health").body)["open_streams"] == 0)


def test_a_service_that_is_not_there_is_a_bad_gateway() -> None:
    with ServerProcess(*command_of(FOLDER / "fastapi_app.py"), environment={"SERVICE": "http://127.0.0.1:9"}) as app:
        answer = fetch(app.url, "/v1/models")
        assert answer.status == 502
        assert json.loads(answer.body)["status"] == 502


def test_a_stranger_does_not_get_to_the_service(service: ServerProcess) -> None:
    with ServerProcess(*command_of(FOLDER / "aiohttp_app.py"), environment={"SERVICE": service.url}) as app:
        assert fetch(app.url, "/v1/models").status == 401
        assert fetch(app.url, "/v1/models", headers={"Cookie": "session=bob"}).status == 401
        with chat(app) as request:
            request.read()
        assert b"Ann" in request.body
        forged = {"Cookie": "session=ann", "X-User": "Bob"}
        with Request(app.url, "/v1/chat/completions", method="POST", headers=forged) as request:
            request.read()
        assert b"Ann" in request.body
        assert b"Bob" not in request.body
