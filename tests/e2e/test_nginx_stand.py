"""Does the table in nginx/README.md hold: what the real nginx does to streams, with and without sseproxy?"""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import require

_ROOT = Path(__file__).parents[2]
_STAND = _ROOT / "nginx" / "stand.py"

# Half the size of the README's: a read timeout of one second.
_SCALE = "60"

Facts = dict[str, Any]
Rows = dict[str, dict[str, Facts]]

_SILENT = {
    "silent before the response head": None,
    "silent after the first event": 1,
    "silent in the middle of a line": 2,
    "silent between two lines of an event": 2,
    "two hops: silent before the head": None,
    "two hops: silent after the first event": 1,
    "gzip: silent after the first event": 1,
    "HTTP/1.0 to the service: silent before the head": None,
    "HTTP/1.0 to the service: silent after the first event": 0,
    "JSON lines (Ollama): silent before the response head": None,
    "JSON lines (Ollama): silent after the first record": 1,
    "JSON, no stream: silent before the response head": None,
}
_GZIP = ["two hops, the outer with gzip: long, never silent", "gzip: long, never silent"]
_LEAVING = [
    "client leaves before the head",
    "client leaves while the service is silent",
    "HTTP/1.0 to the service: client leaves while silent",
]
_DYING = ["service dies half-way", "HTTP/1.0 to the service: service dies half-way"]
_LINES_DYING = "JSON lines (Ollama): service dies half-way"
_TEXT_DYING = "JSON, no stream: service dies before the head, after 30 s"
_OTHERS = ["long, never silent", "service dies before the head, after 30 s", _LINES_DYING, _TEXT_DYING]


_MEASURED = ["problem.conf", "solved.conf", "two-hops.conf", "gzip.conf", "http10.conf", "json.conf"]
_COMPLETE = [*_MEASURED, "push.conf", "replicas.conf"]


@pytest.fixture(scope="module")
def rows() -> Rows:
    require("nginx")
    command = [sys.executable, str(_STAND), "--json", "--scale", _SCALE]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    measured: Rows = json.loads(done.stdout)
    return measured


def test_every_row_is_judged_here(rows: Rows) -> None:
    assert set(rows) == {*_SILENT, *_GZIP, *_LEAVING, *_DYING, *_OTHERS}


@pytest.mark.parametrize("name", _SILENT)
def test_silence_kills_the_direct_way(rows: Rows, name: str) -> None:
    direct, tokens = rows[name]["direct"], _SILENT[name]
    if tokens is None:
        assert direct["status"] == 504
    else:
        assert (direct["status"], direct["tokens"], direct["ending"]) == (200, tokens, "truncated")
    assert direct["noticed"] == "peer_left"


@pytest.mark.parametrize("name", _SILENT)
def test_silence_does_nothing_to_the_way_through_sseproxy(rows: Rows, name: str) -> None:
    through = rows[name]["through"]
    assert (through["status"], through["whole"], through["noticed"]) == (200, True, "sent_all")


def test_what_is_never_silent_is_whole_both_ways(rows: Rows) -> None:
    row = rows["long, never silent"]
    assert (row["direct"]["whole"], row["through"]["whole"]) == (True, True)
    assert (row["direct"]["in_one_go"], row["through"]["in_one_go"]) == (False, False)


@pytest.mark.parametrize("name", _GZIP)
def test_gzip_collects_what_it_is_not_told_to_let_through(rows: Rows, name: str) -> None:
    row = rows[name]
    assert (row["direct"]["whole"], row["direct"]["in_one_go"]) == (True, True)
    assert (row["through"]["whole"], row["through"]["in_one_go"]) == (True, False)


@pytest.mark.parametrize("name", _LEAVING)
def test_the_service_hears_of_a_client_that_leaves(rows: Rows, name: str) -> None:
    assert {way: facts["noticed"] for way, facts in rows[name].items()} == {
        "direct": "peer_left",
        "through": "peer_left",
    }


def test_a_service_that_dies_half_way_is_never_taken_for_one_that_has_finished(rows: Rows) -> None:
    assert rows["service dies half-way"]["direct"]["ending"] == "truncated"
    for name in _DYING:
        through = rows[name]["through"]
        assert (through["tokens"], through["whole"], through["ending"]) == (3, False, "truncated")


def test_nginx_takes_a_dead_service_for_a_finished_one_over_http_1_0(rows: Rows) -> None:
    direct = rows["HTTP/1.0 to the service: service dies half-way"]["direct"]
    assert (direct["tokens"], direct["whole"], direct["ending"]) == (3, False, "clean")


def test_a_service_that_dies_before_its_head_is_told_as_an_error_event(rows: Rows) -> None:
    row = rows["service dies before the head, after 30 s"]
    assert row["direct"]["status"] == 502
    through = row["through"]
    assert (through["status"], through["error"], through["ending"]) == (200, 502, "truncated")


def test_json_lines_that_break_off_say_so(rows: Rows) -> None:
    direct, through = rows[_LINES_DYING]["direct"], rows[_LINES_DYING]["through"]
    assert (direct["tokens"], direct["error"], direct["ending"]) == (3, None, "truncated")
    assert (through["tokens"], through["ending"]) == (3, "truncated")
    assert through["error"] is not None


def test_an_answer_in_json_that_never_comes_is_an_error_object(rows: Rows) -> None:
    assert rows[_TEXT_DYING]["direct"]["status"] == 502
    through = rows[_TEXT_DYING]["through"]
    assert (through["status"], through["tokens"], through["error"], through["whole"]) == (200, 0, 502, False)


def test_the_readme_has_the_rows_of_the_stand(rows: Rows) -> None:
    table = re.findall(r"^\| ([^|]+?) \|", (_ROOT / "nginx" / "README.md").read_text(), re.MULTILINE)
    assert [name for name in table if name in rows] == list(rows)


@pytest.mark.parametrize("name", _COMPLETE)
def test_a_configuration_is_complete_as_it_lies_there(name: str, tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    # Its own ports may be in use here, unix sockets of this test cannot be.
    sockets = (f"listen unix:{tmp_path}/{number};" for number in itertools.count())
    text = (_ROOT / "nginx" / name).read_text()
    conf.write_text(re.sub(r"listen 127\.0\.0\.1:\d+;", lambda _: next(sockets), text))
    command = [require("nginx"), "-t", "-p", str(tmp_path), "-c", str(conf), "-e", "stderr"]
    tested = subprocess.run(command, check=False, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
