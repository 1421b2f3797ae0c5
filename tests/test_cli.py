"""What does the command line accept, what does it say, and with which code does it end?"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from sseproxy import __version__
from sseproxy.cli import main, new_parser
from sseproxy.config.flags import OVERRIDES, Override

ROOT = Path(__file__).parents[1]
COMMANDS = ("serve", "check", "schema", "example", "demo", "healthcheck", "completion", "probe")


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of ours, and lines that are long enough for all texts."""
    for name in ("SSEPROXY_CONFIG", *(override.variable for override in OVERRIDES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def usage_error(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is written about wrong usage, which must end with 2 and say nothing on standard output."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("usage: sseproxy")
    return written.err.splitlines()[-1]


def helped(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["surf"], "invalid choice: 'surf'"),
        (["--vers"], "unrecognized arguments: --vers|the following arguments are required"),
        (["serve", "--upstream"], "argument --upstream: expected one argument"),
        (["serve", "--upstreams", "http://x"], "unrecognized arguments: --upstreams http://x"),
        (["serve", "--heart", "1s"], "unrecognized arguments: --heart 1s"),
        (["serve", "http://x"], "unrecognized arguments: http://x"),
        (["serve", "--no-access-log=yes"], "argument --no-access-log: ignored explicit argument 'yes'"),
        (["check"], "the following arguments are required: -c/--config"),
        (["check", "sseproxy.yaml"], r"required: -c/--config \(such as sseproxy check -c sseproxy.yaml\)"),
        (["srve"], r"\(did you mean serve\?\)"),
        (
            ["serve", "--listn", ":1"],
            r"sseproxy serve: error: unrecognized arguments: --listn :1 \(did you mean --listen\?\)",
        ),
        (["serve", "my.yaml"], r"\(did you mean -c my.yaml\?\)"),
        (["serve", "--port", "80"], r"\(did you mean --listen 127.0.0.1:80\?\)"),
        (["serve", "--port=80"], r"\(did you mean --listen 127.0.0.1:80\?\)"),
        (["serve", "-p", "80"], r"\(did you mean --listen 127.0.0.1:80\?\)"),
        (["serve", "--host", "0.0.0.0"], r"\(did you mean --listen 0.0.0.0:8080\?\)"),
        (["serve", "--host", "0.0.0.0", "--port", "80"], r"\(did you mean --listen 0.0.0.0:80\?\)"),
        (["serve", "--host", "::"], r"\(did you mean --listen \[::\]:8080\?\)"),
        (["serve", "--host", "[::1]", "--port", "9"], r"\(did you mean --listen \[::1\]:9\?\)"),
        (["serve", "--bind", "10.0.0.1:80"], r"\(did you mean --listen 10.0.0.1:80\?\)"),
        (["serve", "-b", "unix:/run/x"], r"\(did you mean --listen unix:/run/x\?\)"),
        (["check", "-c", "x.yaml", "--port", "80"], r"\(did you mean --listen 127.0.0.1:80\?\)"),
        (["schema", "--port", "80"], "unrecognized arguments: --port 80$"),
        (["serve", "--portable", "80"], "unrecognized arguments: --portable 80$"),
        (["demo", "--gateway", "nginks"], r"\(did you mean nginx\?\)"),
        (["completion", "fish"], "invalid choice: 'fish'"),
        (["schema", "extra"], "unrecognized arguments: extra"),
        (["demo", "--gateway", "apache"], "invalid choice: 'apache'"),
        (["demo", "--port", "http"], "invalid int value: 'http'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(said, usage_error(arguments, capsys))


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sseproxy {__version__}\n"


def test_the_version_costs_only_the_parser() -> None:
    program = """
import sys
from sseproxy.cli import new_parser
new_parser().format_help()
print(*sorted({"aiohttp", "asyncio", "httptools", "pydantic", "yaml"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped([], capsys)
    assert text.startswith("usage: sseproxy ")
    for command in COMMANDS:
        assert re.search(rf"^ +{command} +\w", text, re.MULTILINE), f"{command} is not explained"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert helped([command], capsys).startswith(f"usage: sseproxy {command} ")


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override.flag)
def test_help_of_serve_explains_every_flag_and_names_its_variable(
    override: Override, capsys: pytest.CaptureFixture[str]
) -> None:
    explained = rf"^ +{override.flag}( [A-Z]+)?\s+\w.* \[{override.variable}\]$"
    assert re.search(explained, helped(["serve"], capsys), re.MULTILINE)


def at(data: object, path: Sequence[str | int]) -> object:
    """What stands there in parsed YAML; ``None`` if nothing does."""
    for part in path:
        data = data.get(part) if isinstance(data, dict) else data[int(part)] if isinstance(data, list) else None
    return data


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override.flag)
def test_the_default_that_help_names_is_the_one_that_holds(
    override: Override, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("routes: [{upstream: 'http://u:1'}]")
    assert main(["check", "--print", "-c", str(tmp_path / "c.yaml")]) == 0
    held = at(yaml.safe_load(capsys.readouterr().out), (*(("routes", 0) if override.inherited else ()), *override.path))
    if override.default:
        said = held[0] if isinstance(held, list) else "off" if held is False else held
        assert str(said) == override.default
    else:
        assert override.path in {("upstream",), ("admin", "listen"), ("log", "access")}


@pytest.mark.parametrize("override", [each for each in OVERRIDES if each.choices], ids=lambda override: override.flag)
def test_the_choices_that_help_names_are_all_there_are(override: Override, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--upstream", "http://u:1", override.flag, "no-such-choice"]) == 1
    message = capsys.readouterr().err
    found = re.search(r"expected (.*), got 'no-such-choice'", message)
    assert found is not None, message
    assert tuple(re.split(", | or ", found[1])) == override.choices


def test_help_of_serve_ends_with_examples_that_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in helped(["serve"], capsys).splitlines() if line.startswith("  sseproxy serve ")]
    assert len(lines) >= 3
    for line in lines:
        assert new_parser().parse_args(line[1:]).command


def test_a_file_that_lies_there_and_is_not_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hint = "sseproxy: sseproxy.yaml of this folder is not read (-c sseproxy.yaml reads it)"
    assert main(["serve"]) == 1
    assert hint not in capsys.readouterr().err
    (tmp_path / "sseproxy.yaml").write_text("routes: 5")
    assert main(["serve"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == hint
    assert main(["serve", "-c", "sseproxy.yaml"]) == 1
    assert hint not in capsys.readouterr().err
    monkeypatch.setenv("SSEPROXY_CONFIG", "")
    assert main(["serve"]) == 1
    assert hint in capsys.readouterr().err
    monkeypatch.setenv("SSEPROXY_CONFIG", "sseproxy.yaml")
    assert main(["serve"]) == 1
    assert hint not in capsys.readouterr().err


def test_check_takes_the_flags_of_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("routes: [{upstream: 'http://u:1'}]")
    arguments = ["check", "-c", str(tmp_path / "c.yaml"), "--workers", "3"]
    assert main([*arguments, "--print"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["server"]["workers"] == 3
    assert main([*arguments, "--heartbeat", "soon"]) == 1
    assert capsys.readouterr().out.startswith("--heartbeat: ")


def test_the_flags_are_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(["serve"], capsys)
    flags = "upstream listen heartbeat heartbeat-form before-response idle-timeout dialect workers admin log-level"
    for flag in (*flags.split(), "log-format", "no-access-log", "config"):
        assert f"--{flag}" in text


def test_schema_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["type"] == "object"
    assert written.err == ""


#: Defaults that have changed, as they are now.
CONFIRMED = "defaults: {dialect: auto, timeouts: {response: 15m, idle: auto}}\n"


def test_check_of_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text(CONFIRMED + "routes:\n  - {match: {prefix: /a}, upstream: http://a}\n  - upstream: http://b\n")
    assert main(["check", "-c", str(file)]) == 0
    written = capsys.readouterr()
    assert written.out == f"{file}: 2 routes, no errors\n"
    assert written.err == ""


def test_check_of_a_file_with_warnings_alone_is_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text(CONFIRMED + "admin: {listen: ':9090'}\nroutes: [{upstream: 'http://a'}]\n")
    assert main(["check", "-c", str(file)]) == 0
    warning, summary = capsys.readouterr().out.splitlines()
    assert warning.startswith(f"{file}:2:17: admin.listen: warning: ")
    assert summary == f"{file}: 1 route, no errors, 1 warning"


def test_check_says_what_is_easily_overlooked_and_counts_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text(CONFIRMED + "routes: [{upstream: 'http://a', journal: {kind: answer}}]\n")
    assert main(["check", "-c", str(file)]) == 0
    note, summary = capsys.readouterr().out.splitlines()
    assert note.startswith(f"{file}:2:33: routes[0].journal: note: each request takes its own Cookie ")
    assert summary == f"{file}: 1 route, no errors"


def test_check_prints_yaml_alone_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text(CONFIRMED + "admin: {listen: ':9090'}\nroutes: [{upstream: 'http://a'}]\n")
    assert main(["check", "--print", "-c", str(file)]) == 0
    written = capsys.readouterr()
    assert yaml.safe_load(written.out)["admin"] == {"listen": ":9090"}
    warning, summary = written.err.splitlines()
    assert "admin.listen: warning: " in warning
    assert summary == f"{file}: 1 route, no errors, 1 warning"


def test_check_prints_nothing_of_a_file_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text(BROKEN)
    assert main(["check", "--print", "-c", str(file)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_example_names_all_files_and_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example"]) == 0
    names = capsys.readouterr().out.split()
    expected = [
        path.relative_to(ROOT).as_posix() for folder in ("config", "deploy") for path in (ROOT / folder).rglob("*")
    ]
    assert sorted(names) == sorted(name for name in expected if (ROOT / name).is_file() and "__pycache__" not in name)
    for name in names:
        assert main(["example", name]) == 0
        assert capsys.readouterr().out == (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "code", "out", "error"),
    [
        ("sseproxy.full.yaml", 0, "# Every key of the configuration", ""),
        ("systemd/sseproxy.yaml", 0, "# For sseproxy.service", ""),
        ("service.yaml", 1, "", "sseproxy: which of them? deploy/kubernetes/gateway/service.yaml deploy/"),
        ("compose.yml", 1, "", "sseproxy: there is no file compose.yml (did you mean compose.yaml?)\n"),
        ("../pyproject.toml", 1, "", "sseproxy: there is no file ../pyproject.toml (sseproxy example names all)\n"),
    ],
)
def test_an_example_may_be_named_by_its_end(
    name: str, code: int, out: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["example", name]) == code
    written = capsys.readouterr()
    assert written.out.startswith(out)
    assert written.err.startswith(error)
    assert bool(written.out) is not bool(written.err)


def test_the_file_to_begin_with_is_found_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    """There are several sseproxy.yaml; the one of config/ is what the help promises."""
    assert main(["example", "sseproxy.yaml"]) == 0
    assert capsys.readouterr().out == (ROOT / "config/sseproxy.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in script] == []
    assert "--heartbeat-form" in script


def test_bash_completes_commands_flags_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    (tmp_path / "my.yaml").write_text("")
    for line, found in (
        ("sseproxy hea", "healthcheck"),
        ("sseproxy serve --ups", "--upstream"),
        ("sseproxy check -c m", "my.yaml"),
    ):
        words = line.split()
        script = f"""
            source ./completion
            COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}
            _shtab_sseproxy sseproxy {words[-1]} {words[-2]}
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        )
        assert found in done.stdout.split(), done


def test_completion_says_what_it_needs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install 'sseproxy[completion]'" in capsys.readouterr().err


BROKEN = """\
server:
  listen: 127.0.0.1:99999
  wokers: 2
defaults:
  heartbeat: {interval: soon}
routes:
  - upstream: ftp://x
"""


def test_check_names_the_place_of_every_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text(BROKEN)
    assert main(["check", "-c", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    shape = re.compile(rf"{re.escape(str(file))}:(\d+):(\d+): ([\w.\[\]]+): .+")
    found = [shape.fullmatch(line) for line in lines]
    assert [match and match.groups() for match in found] == [
        ("2", "11", "server.listen"),
        ("3", "3", "server.wokers"),
        ("5", "25", "defaults.heartbeat.interval"),
        ("7", "15", "routes[0].upstream"),
    ]
    assert lines[1].endswith("unknown key (did you mean workers?)")


def test_serve_says_the_same_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sseproxy.yaml"
    file.write_text(BROKEN)
    main(["check", "-c", str(file)])
    checked = capsys.readouterr().out
    assert main(["serve", "-c", str(file)]) == 1
    written = capsys.readouterr()
    assert written.err == checked
    assert written.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve"], "nothing to proxy: "),
        (["serve", "-c", "missing.yaml"], "missing.yaml"),
        (["serve", "--upstream", "127.0.0.1:9000"], "--upstream: "),
        (
            ["serve", "--upstream", "http://x", "--listen", "8080"],
            "--listen: expected HOST:PORT, got '8080' (such as 127.0.0.1:8080 or :8080)",
        ),
        (["serve", "--upstream", "http://x", "--listen", ":1", "--listen", ":1"], "--listen: "),
        (["serve", "--upstream", "http://x", "--heartbeat", "15 seconds"], "--heartbeat: "),
        (["serve", "--upstream", "http://x", "--heartbeat-form", "ping"], "--heartbeat-form: "),
        (["serve", "--upstream", "http://x", "--before-response=-1s"], "--before-response: "),
        (["serve", "--upstream", "http://x", "--idle-timeout", "0"], "--idle-timeout: "),
        (["serve", "--upstream", "http://x", "--dialect", "openai"], "--dialect: "),
        (["serve", "--upstream", "http://x", "--workers", "0"], "--workers: "),
        (["serve", "--upstream", "http://x", "--admin", "9090"], "--admin: "),
        (["serve", "--upstream", "http://x", "--log-level", "loud"], "--log-level: "),
        (["serve", "--upstream", "http://x", "--log-format", "xml"], "--log-format: "),
        (["check", "-c", "missing.yaml"], "missing.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_value_is_named_by_its_flag(
    arguments: Sequence[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    written = capsys.readouterr()
    text = written.err + written.out
    assert text.startswith(said)
    assert len(text.splitlines()) == 1


def test_all_wrong_flags_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--upstream", "x", "--heartbeat", "x", "--workers", "x"]) == 1
    flags = {line.partition(":")[0] for line in capsys.readouterr().err.splitlines()}
    assert flags == {"--upstream", "--heartbeat", "--workers"}


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SSEPROXY_HEARTBEAT", "soon")
    assert main(["serve", "--upstream", "http://x"]) == 1
    assert capsys.readouterr().err.startswith("SSEPROXY_HEARTBEAT: ")


def test_a_reader_that_has_had_enough_is_no_crash() -> None:
    """``sseproxy schema | head -1``"""
    command = f"{sys.executable} -m sseproxy schema | head -c 1"
    root = Path(__file__).parents[1]
    done = subprocess.run(command, shell=True, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "{"
    assert done.stderr == ""
