"""Do clients that read JSON lines, unmodified, read through the proxy what they read without it?

Heartbeats go out every 20 ms, and the upstream is silent for 70 ms before, within and between its records.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.clients.catalogue import READING, clients_of
from tests.e2e.clients.client_programs import Client, Job, Outcome, run_clients
from tests.e2e.clients.ends_upstream import EndsUpstream, serving
from tests.e2e.clients.lines_rig import SCENES, Measured, WhiteSpace, config, measure, table
from tests.e2e.clients.scenes import Scene
from tests.support.programs import require
from tests.support.sseproxy_process import SseproxyProcess

pytestmark = pytest.mark.timeout(900)  # All clients load at once, next to whatever else keeps the machine busy.

_MANUAL = Path(__file__).parents[3] / "docs" / "ndjson.md"
_LIMIT = 60.0
_FLAGS = ("--listen", "127.0.0.1:0", "--heartbeat", "20ms", "--log-format", "json")
_EARLY = ("--before-response", "100ms")
_SPRING_HEAD = "application/stream+json;charset=UTF-8"

OLLAMA = clients_of("ollama")


@pytest.fixture(scope="module")
def upstream() -> Iterator[EndsUpstream]:
    with serving(EndsUpstream()) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(upstream: EndsUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SseproxyProcess]:
    """One route for each kind of white space."""
    file = tmp_path_factory.mktemp("lines") / "sseproxy.yaml"
    file.write_text(config(upstream.url))
    with SseproxyProcess("-c", str(file)) as process:
        yield process


@pytest.fixture(scope="module")
def measured(upstream: EndsUpstream, proxy: SseproxyProcess) -> Measured:
    return measure(upstream, proxy)


Key = tuple[Client, str, str]


@pytest.fixture(scope="module")
def ollama(upstream: EndsUpstream) -> Iterator[tuple[Mapping[Key, Outcome], list[str]]]:
    """What came of each of Ollama's clients with each scene, directly, by flags alone, and with early answers.

    Also the lines of the access logs.
    """
    with (
        SseproxyProcess("--upstream", upstream.url, *_FLAGS) as plain,
        SseproxyProcess("--upstream", upstream.url, *_FLAGS, *_EARLY) as early,
    ):
        bases = {"direct": upstream.url, "plain": plain.url, "early": early.url}
        jobs = {
            (client, way, scene): Job(client, f"{base}/{client.segment}/ollama/scene/{scene}", limit=_LIMIT)
            for client in OLLAMA
            for way, base in bases.items()
            for scene in (*SCENES, Scene.PAUSES, Scene.LATE_429, Scene.LATE_CRASH, Scene.BREAKS)
        }
        done = run_clients(jobs.values())
        of_each = len(jobs) // len(bases)
        logs = [line for process in (plain, early) for line in process.stdout.wait_for(lambda n: len(n) >= of_each)]
        yield {key: done[job] for key, job in jobs.items()}, logs


Ollama = tuple[Mapping[Key, Outcome], list[str]]


@pytest.mark.parametrize("scene", [*SCENES, Scene.PAUSES])
@pytest.mark.parametrize("way", ["plain", "early"])
@pytest.mark.parametrize("client", OLLAMA, ids=str)
def test_an_ollama_client_reads_what_it_reads_without_a_proxy(
    client: Client, way: str, scene: Scene, ollama: Ollama
) -> None:
    done, _ = ollama
    assert done[client, way, scene] == done[client, "direct", scene]
    assert done[client, way, scene].error is None
    assert len(done[client, way, scene].items) > 3


def test_every_stream_carried_heartbeats(ollama: Ollama) -> None:
    entries = [json.loads(line) for line in ollama[1]]
    calm = {str(Scene.CUTS), str(Scene.CUTS_ENDING), str(Scene.PAUSES)}
    streams = [entry for entry in entries if entry["path"].split("/")[4] in calm]
    assert len(streams) == 2 * len(calm) * len(OLLAMA)
    assert [entry["path"] for entry in streams if not entry.get("heartbeats")] == []


@pytest.mark.parametrize("scene", [Scene.LATE_429, Scene.LATE_CRASH, Scene.BREAKS])
@pytest.mark.parametrize("way", ["plain", "early"])
@pytest.mark.parametrize("client", OLLAMA, ids=str)
def test_no_failure_looks_like_an_end(client: Client, way: str, scene: Scene, ollama: Ollama) -> None:
    error = ollama[0][client, way, scene].error
    assert error is not None
    assert "Timeout" not in error["classes"][0], "it hangs"
    if scene is Scene.LATE_429:
        assert "marker-429" in error["message"]


@pytest.mark.parametrize("way", ["plain", "early"])
@pytest.mark.parametrize("client", OLLAMA, ids=str)
def test_what_came_before_a_break_is_handed_out(client: Client, way: str, ollama: Ollama) -> None:
    assert ollama[0][client, way, Scene.BREAKS].items


@pytest.mark.parametrize("client", OLLAMA, ids=str)
def test_a_broken_end_says_why(client: Client, ollama: Ollama) -> None:
    assert "broke off" in str(ollama[0][client, "plain", Scene.BREAKS].error)


@pytest.mark.parametrize("client", READING, ids=str)
def test_a_reader_reads_everything_without_heartbeats(client: Client, measured: Measured) -> None:
    """Otherwise its row would say nothing of them."""
    for scene in SCENES:
        plain = measured[client][WhiteSpace.OFF, scene]
        assert plain.error is None
        assert len(plain.items) == 4


@pytest.mark.parametrize("client", READING, ids=str)
def test_a_reader_knows_that_the_records_broke_off(client: Client, measured: Measured) -> None:
    for value in WhiteSpace:
        assert measured[client][value, Scene.BREAKS].error is not None
    assert len(measured[client][WhiteSpace.OFF, Scene.BREAKS].items) == 2


def test_curl_knows_that_the_records_broke_off(upstream: EndsUpstream, proxy: SseproxyProcess) -> None:
    """`jq` behind a pipe does not: it is told that its input has ended."""
    url = f"{proxy.url}/{WhiteSpace.SPACE}/curl/records/scene/{Scene.BREAKS}/records"
    command = [require("curl"), "-sSfN", "--max-time", "60", url]
    done = subprocess.run(command, check=False, capture_output=True, timeout=90)
    assert done.returncode == 18
    assert len(done.stdout.splitlines()) == 2


def test_the_manual_has_what_was_measured(measured: Measured) -> None:
    said = _MANUAL.read_text(encoding="utf-8").splitlines()
    assert [line for line in table(measured) if line not in said] == []


@pytest.mark.parametrize("value", WhiteSpace)
def test_jq_reads_all_records(value: WhiteSpace, upstream: EndsUpstream, proxy: SseproxyProcess) -> None:
    path = f"jq/records/scene/{Scene.CUTS_ENDING}/records"
    pipe = 'set -e; "$1" -sSfN --max-time 60 "$2" | "$3" -c .'
    through, direct = (
        subprocess.run(
            ["sh", "-c", pipe, "sh", require("curl"), url, require("jq")], check=True, capture_output=True, timeout=90
        ).stdout
        for url in (f"{proxy.url}/{value}/{path}", f"{upstream.url}/{path}")
    )
    assert through == direct
    assert len(through.splitlines()) == 4


@pytest.mark.parametrize("value", WhiteSpace)
def test_a_recorded_stream_of_spring(value: WhiteSpace, upstream: EndsUpstream, proxy: SseproxyProcess) -> None:
    """Only white space where a record may begin, and nothing else, is added to the bytes."""
    path = f"wire/spring/scene/{Scene.CUTS_ENDING}/records"
    curl = [require("curl"), "-sSfN", "--max-time", "60", "-w", "%{stderr}%{content_type}"]
    through, direct = (
        subprocess.run([*curl, url], check=True, capture_output=True, timeout=90)
        for url in (f"{proxy.url}/{value}/{path}", f"{upstream.url}/{path}")
    )
    assert through.stderr == direct.stderr == _SPRING_HEAD.encode()
    lines = through.stdout.split(b"\n")
    added = {WhiteSpace.SPACE: b" ", WhiteSpace.NEWLINE: b"\n", WhiteSpace.OFF: b""}[value]
    if value is WhiteSpace.NEWLINE:
        assert b"\n".join(line for line in lines if line) + b"\n" == direct.stdout
        assert b"" in lines[:-1]
    else:
        assert b"\n".join(line.lstrip(b" ") for line in lines) == direct.stdout
    assert through.stdout.startswith(added)
    assert through.stdout.endswith(added)
    assert len(through.stdout) - len(direct.stdout) >= (4 if added else 0)
