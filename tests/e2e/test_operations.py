"""The proxy in the hands of an operator: where it listens, how it starts and ends, what its exit code says."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sseproxy import __version__
from tests.support.blocking_client import Request, fetch
from tests.support.certificates import new_authority, new_certificate
from tests.support.echo_upstream import EchoUpstream, echo_of
from tests.support.hand_upstream import HandUpstream
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[2]
ANYWHERE = ("--listen", "127.0.0.1:0")
_LIMITED = (
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512));"
    "import sys; from sseproxy.cli import main; sys.exit(main())"
)
NOWHERE = ("--upstream", "http://127.0.0.1:9")  # for what does not get so far as to ask the upstream


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """``python -m sseproxy`` until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "sseproxy", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def written(folder: Path, config: object) -> str:
    """The path of a new configuration file."""
    path = folder / "sseproxy.yaml"
    path.write_text(json.dumps(config))
    return str(path)


def connects(url: str) -> bool:
    """Whether somebody accepts connections there."""
    host, _, port = url.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


# Listeners.


def test_unix_sockets_on_both_sides(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "proxy.sock", tmp_path / "app.sock"
    with EchoUpstream(unix=str(theirs)) as upstream:
        with SseproxyProcess("--upstream", upstream.url, "--listen", f"unix:{ours}") as proxy:
            assert proxy.urls == [f"unix:{ours}"]
            assert stat.S_IMODE(ours.stat().st_mode) == 0o666, "the gateway runs as another user"
            answer = fetch(proxy.url, "/a/b?c=d", headers={"Host": "chat.example"})
            assert echo_of(answer)["target"] == "/a/b?c=d"
            assert echo_of(answer)["fields"]["host"] == "chat.example"
            proxy.stdout.wait_for(lambda lines: any("peer=unix " in line for line in lines))
        assert not ours.exists(), "the file is removed at exit"


@pytest.mark.parametrize(("more", "is_believed"), [({}, True), ({"trust": False}, False)])
def test_a_unix_socket_with_rights_of_its_own(tmp_path: Path, more: dict[str, object], is_believed: bool) -> None:
    path = tmp_path / "proxy.sock"
    listen = {"unix": str(path), "mode": "0600", "group": os.getgid(), **more}
    with EchoUpstream() as upstream:
        config = written(tmp_path, {"server": {"listen": listen}, "routes": [{"upstream": upstream.url}]})
        with SseproxyProcess("-c", config) as proxy:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            fields = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Prefix": "/app"}
            echoed = echo_of(fetch(proxy.url, "/", headers=fields))["fields"]
            assert echoed.get("x-forwarded-for") == ("192.0.2.1" if is_believed else None)
            assert echoed.get("x-forwarded-prefix") == ("/app" if is_believed else None)
        assert ("is not trusted" in proxy.stderr.text) is not is_believed


def test_a_stream_over_unix_sockets(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "proxy.sock", tmp_path / "app.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(theirs))
    listening.listen()
    arguments = ("--upstream", f"http+unix://{theirs}", "--listen", f"unix:{ours}", "--heartbeat", "20ms")
    with (
        HandUpstream(listening) as upstream,
        SseproxyProcess(*arguments) as proxy,
        Request(proxy.url, "/") as request,
        upstream.accept() as call,
    ):
        call.begin()
        call.send(b"data: 1\n\n")
        request.read_until(lambda body: body.startswith(b"data: 1\n\n") and body.count(b": heartbeat") >= 3)
        request.close()
        call.wait_until_left()


def test_a_base_path_behind_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with EchoUpstream(unix=path):
        upstream = f"http+unix://{path.replace('/', '%2F')}/v1"
        with SseproxyProcess("--upstream", upstream, *ANYWHERE) as proxy:
            assert echo_of(fetch(proxy.url, "/models"))["target"] == "/v1/models"


def test_a_unix_socket_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    assert path.exists()
    with EchoUpstream() as upstream, SseproxyProcess("--upstream", upstream.url, "--listen", f"unix:{path}") as proxy:
        assert fetch(proxy.url, "/").status == 200


def test_a_unix_socket_that_is_in_use_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as in_use:
        in_use.bind(str(path))
        in_use.listen()
        done = run("serve", *NOWHERE, "--listen", f"unix:{path}")
        assert done.returncode == 1
        assert done.stderr == f"sseproxy: cannot listen on unix:{path}: the address is in use\n"
        assert path.exists()


def test_a_file_that_is_no_socket_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    done = run("serve", *NOWHERE, "--listen", f"unix:{path}")
    assert done.returncode == 1
    assert "is there already and is not a socket" in done.stderr
    assert path.read_text() == "data"


def test_a_successor_on_the_same_unix_socket_keeps_it(tmp_path: Path) -> None:
    """The one that drains must not remove the file of the one that took over."""
    path = tmp_path / "proxy.sock"
    with HandUpstream() as upstream:
        arguments = ("--upstream", upstream.url, "--listen", f"unix:{path}")
        with SseproxyProcess(*arguments) as old, Request(old.url, "/") as request, upstream.accept() as call:
            call.begin()
            call.send(b"data: 1\n\ndata: unfinished")
            request.wait_for(b"data: 1\n\n")
            old.send_signal(signal.SIGTERM)
            old.stderr.wait_for(is_draining)
            with SseproxyProcess(*arguments) as new:
                call.finish()
                assert old.wait() == 0
                with Request(new.url, "/") as another, upstream.accept() as second:
                    second.answer(b"here")
                    assert another.read() == b"here"
    assert not path.exists()


def is_draining(lines: list[str]) -> bool:
    return any("draining" in line for line in lines)


def test_several_listeners_serve_the_same(tmp_path: Path) -> None:
    unix = f"unix:{tmp_path}/proxy.sock"
    several = ("--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", unix)
    with EchoUpstream() as upstream, SseproxyProcess("--upstream", upstream.url, *several) as proxy:
        assert len(set(proxy.urls)) == 3
        assert [fetch(url, "/").status for url in proxy.urls] == [200, 200, 200]


def test_ipv6_on_both_sides() -> None:
    try:
        upstream = EchoUpstream(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 on its loopback interface")
    with upstream, SseproxyProcess("--upstream", upstream.url, "--listen", "[::1]:0") as proxy:
        assert proxy.url.startswith("http://[::1]:")
        answer = fetch(proxy.url, "/")
        assert answer.status == 200
        assert echo_of(answer)["fields"]["x-forwarded-for"] == "::1"


def test_all_interfaces() -> None:
    with EchoUpstream() as upstream, SseproxyProcess("--upstream", upstream.url, "--listen", ":0") as proxy:
        assert proxy.url.startswith("http://*:")
        answer = fetch(proxy.url.replace("*", "127.0.0.1"), "/")
        assert answer.status == 200
        assert echo_of(answer)["fields"]["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_in_use(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", *NOWHERE, "--listen", address, "--workers", workers)
    assert done.returncode == 1
    assert done.stderr == f"sseproxy: cannot listen on {address}: the address is in use\n"
    assert done.stdout == ""


def test_an_admin_port_that_is_in_use_gives_the_public_socket_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", *NOWHERE, "--listen", f"unix:{tmp_path}/proxy.sock", "--admin", address)
    assert done.returncode == 1
    assert done.stderr == f"sseproxy: cannot listen on {address}: the address is in use\n"
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_another_machine() -> None:
    done = run("serve", *NOWHERE, "--listen", "192.0.2.1:8080")  # RFC 5737: nobody's
    assert done.returncode == 1
    assert done.stderr == "sseproxy: cannot listen on 192.0.2.1:8080: Cannot assign requested address\n"


# The admin listener.


def test_health_and_readiness() -> None:
    with HandUpstream() as upstream:
        proxy = SseproxyProcess("--upstream", upstream.url, *ANYWHERE, "--admin", "127.0.0.1:0")
        with proxy, Request(proxy.urls[0], "/stream") as request, upstream.accept() as call:
            public, admin = proxy.urls
            assert [fetch(admin, path).status for path in ("/healthz", "/readyz", "/", "/other")] == [
                200,
                200,
                200,
                404,
            ]
            call.begin()
            call.send(b"data: 1\n\ndata: unfinished")
            request.wait_for(b"data: 1\n\n")
            proxy.send_signal(signal.SIGTERM)
            proxy.stderr.wait_for(is_draining)
            assert [fetch(admin, path).status for path in ("/healthz", "/readyz")] == [200, 503]
            assert not connects(public), "a balancer must go elsewhere at once, not wait in a queue"
            call.send(b"\n\n")
            call.finish()
            request.read()
            assert proxy.wait() == 0
    assert b"data: unfinished\n\n" in request.body


def test_health_is_not_public() -> None:
    with EchoUpstream() as upstream:
        proxy = SseproxyProcess("--upstream", upstream.url, *ANYWHERE, "--admin", "127.0.0.1:0")
        with proxy:
            assert echo_of(fetch(proxy.url, "/healthz"))["target"] == "/healthz"


# Start and end.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_ends_it_in_order(workers: str) -> None:
    """As SIGTERM does, by which all other tests end it."""
    with SseproxyProcess(*NOWHERE, *ANYWHERE, "--workers", workers) as proxy:
        proxy.send_signal(signal.SIGINT)
        assert proxy.wait() == 0
        assert not connects(proxy.url)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_few_descriptors_are_warned_of_and_do_not_change_how_it_ends(workers: str) -> None:
    """The line is written by a thread that is there before the supervisor blocks its signals."""
    limited = ["-c", _LIMITED, "serve", *NOWHERE, *ANYWHERE, "--workers", workers]
    with HandUpstream() as upstream:
        limited[limited.index(NOWHERE[1])] = upstream.url
        process = subprocess.Popen(
            [sys.executable, *limited],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            said = [process.stderr.readline(), process.stderr.readline()]
            url = next(line for line in said if "listening on" in line).split()[-1]
            assert sum("512 open files are allowed: enough for about 128 streams" in line for line in said) == 1
            with Request(url, "/") as request, upstream.accept() as call:
                call.begin()
                call.send(b"data: 1\n\ndata: unfinished")
                request.wait_for(b"data: 1\n\n")
                process.terminate()
                assert any("draining" in line for line in iter(process.stderr.readline, ""))
                call.send(b"\n\n")
                call.finish()
                assert b"data: unfinished\n\n" in request.read()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def test_a_signal_at_the_very_end_does_not_look_like_a_crash() -> None:
    with SseproxyProcess(*NOWHERE, *ANYWHERE) as proxy:
        while proxy.is_alive:
            proxy.send_signal(signal.SIGTERM)
        assert proxy.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_it_at_once(workers: str, tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        server = {"listen": "127.0.0.1:0", "workers": int(workers), "drain": {"timeout": "off"}}
        config = written(tmp_path, {"server": server, "routes": [{"upstream": upstream.url}]})
        with SseproxyProcess("-c", config) as proxy, Request(proxy.url, "/") as request, upstream.accept() as call:
            call.begin()
            call.send(b"data: 1\n\ndata: never finished")
            request.wait_for(b"data: 1\n\n")
            proxy.send_signal(signal.SIGTERM)
            proxy.stderr.wait_for(is_draining)
            proxy.send_signal(signal.SIGTERM)
            assert proxy.wait() == 0
            call.wait_until_left()


def test_the_line_that_says_what_listens_where(tmp_path: Path) -> None:
    listen = (*ANYWHERE, "--listen", f"unix:{tmp_path}/proxy.sock", "--admin", "127.0.0.1:0")
    with SseproxyProcess(*NOWHERE, *listen) as proxy:
        public, unix, admin = proxy.urls
        line = f"sseproxy {__version__} listening on {public}, {unix}; admin on {admin}"
        assert proxy.stderr.lines == [line]
        assert proxy.stdout.lines == []


def test_the_same_line_for_machines() -> None:
    with SseproxyProcess(*NOWHERE, *ANYWHERE, "--log-format", "json") as proxy:
        entry = json.loads(proxy.stderr.lines[0])
        assert entry["message"] == f"listening on {proxy.url}"
        assert entry["version"] == __version__
        assert entry["level"] == "info"
        assert entry["time"].endswith("Z")


def test_the_line_comes_whatever_the_level() -> None:
    with SseproxyProcess(*NOWHERE, *ANYWHERE, "--log-level", "critical") as proxy:
        assert len(proxy.stderr.lines) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["check", "-c", "missing.yaml"], 1, id="no file"),
        pytest.param(["serve", "--upstream", "ftp://x"], 1, id="a flag with a wrong value"),
        pytest.param(["serve"], 1, id="nothing to do"),
        pytest.param(["serve", "--no-such-flag"], 2, id="no such flag"),
        pytest.param([], 2, id="no command"),
    ],
)
def test_exit_codes(arguments: Sequence[str], code: int, tmp_path: Path) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert bool(done.stderr or done.stdout)


def test_version_and_schema_go_to_standard_output() -> None:
    version, schema = run("--version"), run("schema")
    assert (version.returncode, version.stdout) == (0, f"sseproxy {__version__}\n")
    assert schema.returncode == 0
    assert json.loads(schema.stdout)["properties"].keys() >= {"server", "admin", "log", "defaults", "routes"}


def test_check_reads_what_serve_would_read(tmp_path: Path) -> None:
    says = {"dialect": "auto", "timeouts": {"response": "15m", "idle": "auto"}}  # left out, each gets a warning
    good = written(tmp_path, {"defaults": says, "routes": [{"upstream": "http://127.0.0.1:9"}]})
    done = run("check", "-c", good)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{good}: 1 route, no errors\n", "")
    bad = tmp_path / "bad.yaml"
    bad.write_text("server:\n  lisen: :1\nroutes:\n  - upstream: 7\n")
    done = run("check", "-c", str(bad))
    assert done.returncode == 1
    places = [line.removeprefix(f"{bad}:").split(": ")[:2] for line in done.stdout.splitlines()]
    assert places == [["2:3", "server.lisen"], ["4:15", "routes[0].upstream"]]


def test_flags_win_over_variables_over_the_file(tmp_path: Path) -> None:
    with EchoUpstream("file") as of_file, EchoUpstream("variable") as of_variable, EchoUpstream("flag") as of_flag:
        config = written(tmp_path, {"server": {"listen": "127.0.0.1:0"}, "routes": [{"upstream": of_file.url}]})
        variable, flag = {"SSEPROXY_UPSTREAM": of_variable.url}, ("--upstream", of_flag.url)
        with (
            SseproxyProcess(environment={"SSEPROXY_CONFIG": config}) as lowest,
            SseproxyProcess("-c", config, environment=variable) as middle,
            SseproxyProcess("-c", config, *flag, environment=variable) as highest,
        ):
            answers = [echo_of(fetch(proxy.url, "/"))["upstream"] for proxy in (lowest, middle, highest)]
    assert answers == ["file", "variable", "flag"]


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_clients_that_take_all_their_places_leave_the_admin_side_and_each_other_some(
    tmp_path: Path, is_tls: bool
) -> None:
    """With 128 descriptors 32 clients may be connected (`server.connections: auto`), handshakes included."""
    authority = new_authority(tmp_path)
    loopback = new_certificate(tmp_path, authority, "loopback", "DNS:localhost,IP:127.0.0.1")
    files = {"certificate": str(loopback.certificate), "key": str(loopback.key)}
    config = {
        "server": {"listen": "127.0.0.1:0", **({"tls": files} if is_tls else {})},
        "admin": {"listen": "127.0.0.1:0"},
        "routes": [{"upstream": "http://127.0.0.1:9"}],
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _LIMITED.replace("(256, 512)", "(128, 128)"), "serve", "-c", written(tmp_path, config)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with contextlib.ExitStack() as stack:
        stack.callback(process.stderr.close)
        stack.callback(process.wait, timeout=60)
        stack.callback(process.terminate)
        line = next(line for line in iter(process.stderr.readline, "") if "listening on" in line)
        public, admin = re.findall(r"https?://[^ ;]+", line)
        host, _, port = public.rpartition("/")[2].partition(":")
        for _ in range(300):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
        assert fetch(admin, "/readyz").status == 200
        assert fetch(public, "/", tls=authority.client_context() if is_tls else None).status == 502
    assert process.returncode == 0
