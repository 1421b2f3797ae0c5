"""Does the loader stand whatever is put before it as a file?"""

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.config.loader import load
from sseproxy.config.problems import ConfigErrors
from sseproxy.config.reading import MOST_VALUES, read_document
from sseproxy.config.yaml_text import DEEPEST, LARGEST_FILE
from tests.config.reading import complaints, read

UP = "routes: [{upstream: 'http://u'}]\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"log: {level: \x07}\n", "c.yaml:1:14: character U+0007 is not allowed in YAML"),
        (b"log:\n  level: caf\xe9\n", "c.yaml:2:13: byte 0xe9 is not UTF-8"),
        ("log: {}".encode("utf-16"), "c.yaml:1:1: byte 0xff is not UTF-8"),
        (b"#" * (LARGEST_FILE + 1), "c.yaml: is larger than 1MiB"),
        (b"[" * 10_000, f"c.yaml: is nested deeper than {DEEPEST} levels"),
    ],
    ids=["control character", "latin-1", "utf-16", "large", "deep"],
)
def test_what_is_no_text(content: bytes, said: str, folder: Path) -> None:
    (folder / "c.yaml").write_bytes(content)
    assert complaints(Path("c.yaml")) == [said]


def test_what_is_no_file(folder: Path) -> None:
    (folder / "d").mkdir()
    assert complaints(Path("gone.yaml")) == ["gone.yaml: cannot be read: no such file or directory"]
    assert complaints(Path("d")) == ["d: cannot be read: is a directory"]
    assert complaints(Path("a\0b")) == ["a\0b: cannot be read: its name contains NUL"]


def test_a_byte_order_mark_is_no_part_of_the_first_key(folder: Path) -> None:
    assert read(b"\xef\xbb\xbf" + UP.encode(), folder).routes


def test_aliases_that_unfold_to_billions_are_refused(folder: Path) -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    (folder / "c.yaml").write_text("a0: &a0 [x]\n" + levels)
    assert f"c.yaml:1:1: aliases unfold to more than {MOST_VALUES} values" in complaints(Path("c.yaml"))


def test_aliases_repeat_what_they_name(folder: Path) -> None:
    first_route = "{match: {path: /a}, upstream: &u http://u, timeouts: &t {idle: 1s}}"
    text = f"routes:\n  - {first_route}\n  - {{upstream: *u, timeouts: *t}}\n"
    first, second = read(text, folder).routes
    assert first.upstream == second.upstream
    assert first.timeouts == second.timeouts


def test_a_section_with_nothing_in_it_is_left_out(folder: Path) -> None:
    assert read("server:\nadmin:\nlog:\ndefaults:\n  heartbeat:\n" + UP, folder) == read(UP, folder)


def test_variables_take_the_type_that_is_expected(folder: Path) -> None:
    text = """
server: {workers: "${N}", listen: '127.0.0.1:${PORT:-8080}'}
log: {access: "${ACCESS}"}
routes:
  - upstream: ${URL}
    heartbeat: {interval: "${OFF}", comment: "$${N} $5 $$"}
    limits: {streams: "${N}", line: "${SIZE:-1KiB}"}
    headers: {request: {set: {X-N: "${N}", X-Empty: "${EMPTY:-}"}}}
"""
    environ = {"N": "4", "ACCESS": "false", "URL": "http://u", "OFF": "off", "SIZE": ""}
    config = read(text, folder, environ=environ)
    (route,) = config.routes
    assert (config.server.workers, config.server.listen[0].port, config.log.access) == (4, 8080, False)
    assert (route.heartbeat.interval, route.heartbeat.comment) == (None, "${N} $5 $$")
    assert (route.limits.streams, route.limits.line) == (4, 1024)
    assert route.request_headers.set == (("X-N", "4"), ("X-Empty", ""))


def test_a_variable_cannot_add_keys(folder: Path) -> None:
    environ = {"X": "info, format: json}\nadmin: {listen: ':1'"}
    with pytest.raises(ConfigErrors, match=r"c.yaml:1:14: log.level: expected debug"):
        read('log: {level: "${X}"}\n' + UP, folder, environ=environ)


KEYS = [
    "server",
    "listen",
    "tls",
    "drain",
    "admin",
    "log",
    "defaults",
    "routes",
    "heartbeat",
    "interval",
    "match",
    "ca",
]
KEYS += ["headers", "request", "set", "zzz", ""]
TREES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["off", "http://u", "15s"])
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


@given(st.one_of(st.binary(max_size=200), TREES.map(lambda tree: yaml.safe_dump(tree, encoding="utf-8"))))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    with suppress(ConfigErrors):
        load(file, flags={"--heartbeat": "5s", "--upstream": "http://u", "--listen": [":0"]}, environ={})


def test_positions_count_characters(folder: Path) -> None:
    (folder / "c.yaml").write_text('log: {"level": "é", format: x}\n' + UP, encoding="utf-8")
    places = read_document(Path("c.yaml"), {}).places
    assert places["log", "format"].value == (1, 29)
    assert places["routes", 0].value == (2, 10)
