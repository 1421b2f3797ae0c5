"""What of another file holds for processes that run, and what waits for their restart?"""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from sseproxy.config.checked import Checked
from sseproxy.config.loader import check
from sseproxy.config.problems import ConfigErrors
from sseproxy.config.restart import beside

SERVICE = "upstream: 'http://127.0.0.1:9000'"
FEED = "{match: {path: /feed}, redis: {channel: news}}"


def checked(folder: Path, text: str) -> Checked:
    file = folder / "sseproxy.yaml"
    file.write_text(text)
    return check(file, flags={}, environ={})


def test_the_same_file_changes_nothing(tmp_path: Path) -> None:
    again = checked(tmp_path, f"routes: [{{{SERVICE}}}]")
    found = beside(again.config(), again)
    assert (found.config, found.kept) == (again.config(), ())


@pytest.mark.parametrize(
    ("section", "kept"),
    [
        ("server: {listen: ':1'}", ("server.listen",)),
        ("server: {workers: 3}", ("server.workers",)),
        ("admin: {listen: 127.0.0.1:9090}", ("admin",)),
        ("store: {memory: 16MiB}", ("store",)),
        ("store: {file: runs}", ("store",)),
        ("server: {drain: {timeout: 20s}, trusted_proxies: [10.0.0.1/32], connections: 7}", ()),
        ("log: {level: debug, format: json, access: false}", ()),
        ("defaults: {heartbeat: {interval: 3s}}", ()),
        ("server: {listen: ':1', workers: 3}\nadmin: {listen: ':9'}", ("server.listen", "server.workers", "admin")),
    ],
)
def test_only_these_wait_for_a_restart(tmp_path: Path, section: str, kept: tuple[str, ...]) -> None:
    running = checked(tmp_path, f"routes: [{{{SERVICE}}}]").config()
    wanted = checked(tmp_path, f"{section}\nroutes: [{{{SERVICE}}}]")
    found = beside(running, wanted)
    assert found.kept == kept
    expected = replace(wanted.config().server, listen=running.server.listen, workers=running.server.workers)
    assert (found.config.server, found.config.admin, found.config.store) == (expected, running.admin, running.store)
    assert found.config.log == wanted.config().log
    assert found.config.routes == wanted.config().routes


@pytest.mark.parametrize(
    ("before", "after", "url"),
    [
        ("redis://a", "redis://b", "redis://a"),
        ("", "redis://b", "redis://b"),
    ],
)
def test_routes_stay_with_the_redis_that_is_connected(tmp_path: Path, before: str, after: str, url: str) -> None:
    store = f"store: {{url: '{before}'}}\nroutes: [{FEED}]" if before else f"routes: [{{{SERVICE}}}]"
    running = checked(tmp_path, store).config()
    found = beside(running, checked(tmp_path, f"store: {{url: '{after}'}}\nroutes: [{FEED}]"))
    assert found.kept == ("store",)
    policy = found.config.routes[0].redis
    assert policy is not None
    assert policy.url == url


@pytest.mark.parametrize(
    ("said", "owned"), [("tickets: {}", "tickets"), ("journal: {kind: answer}", "runs")], ids=["tickets", "journal"]
)
def test_what_lives_in_one_process_does_not_come_to_several_workers(said: str, owned: str, tmp_path: Path) -> None:
    running = checked(tmp_path, f"server: {{workers: 2}}\nroutes: [{{{SERVICE}}}]").config()
    with pytest.raises(ConfigErrors, match=f"is 2 until a restart, and each worker would know only its own {owned}"):
        beside(running, checked(tmp_path, f"routes: [{{{SERVICE}, {said}}}]"))


def test_a_journal_comes_to_a_process_that_runs(tmp_path: Path) -> None:
    running = checked(tmp_path, f"routes: [{{{SERVICE}}}]").config()
    found = beside(running, checked(tmp_path, f"routes: [{{{SERVICE}, journal: {{kind: answer}}}}]"))
    assert found.kept == ()
    assert found.config.routes[0].journal is not None


def test_all_of_a_configuration_goes_through_a_pipe() -> None:
    """Workers get it so: every policy can be pickled."""
    full = Path(__file__).parents[2] / "config/sseproxy.full.yaml"
    text = full.read_text()
    assert "tickets:" in text
    assert "journal:" in text
    config = check(full, flags={}, environ={"ANY": "x"}).config()
    assert pickle.loads(pickle.dumps(config)) == config
