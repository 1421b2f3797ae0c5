"""Does `sseproxy healthcheck` find the process, and does its exit code say how it is?"""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sseproxy.cli import main
from sseproxy.config.addresses import Address
from sseproxy.process.healthcheck import Question, Unhealthy
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SSEPROXY_")]:
        monkeypatch.delenv(name)


@contextmanager
def peer(answer: bytes | None) -> Iterator[Address]:
    """Something that answers a connection with `answer`, or never."""
    done = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            if answer is None:
                done.wait(20)
            else:
                # A long answer is not read to its end.
                with suppress(ConnectionError):
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Address("127.0.0.1", listening.getsockname()[1])
        done.set()
        thread.join()


def asked(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(["healthcheck", *arguments])
    written = capsys.readouterr()
    return code, written.out, written.err


def test_of_a_process(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By its address, by a variable, by its file; and it is 1 as soon as the process is gone."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "server: {listen: '127.0.0.1:0'}\n"
        f"admin: {{listen: 'unix:{tmp_path}/admin.sock'}}\n"
        "routes: [{upstream: 'http://127.0.0.1:1'}]\n"
    )
    with SseproxyProcess("-c", str(path)):
        assert asked(["-c", str(path)], capsys) == (0, "ok\n", "")
        code, out, _ = asked(["--admin", f"unix:{tmp_path}/admin.sock", "--ready"], capsys)
        assert (code, out) == (0, '{"status": "ready", "away": []}\n')
        monkeypatch.setenv("SSEPROXY_CONFIG", str(path))
        assert asked([], capsys)[0] == 0
        # A file that is being changed, and has errors by now, says nothing about the process.
        path.write_text(path.read_text() + "wrong: 1\n")
        assert asked([], capsys)[0] == 0
        monkeypatch.setenv("SSEPROXY_ADMIN", f"unix:{tmp_path}/other.sock")
        assert asked([], capsys)[0] == 1
    monkeypatch.delenv("SSEPROXY_ADMIN")
    code, out, error = asked([], capsys)
    assert (code, out) == (1, "")
    assert error == f"sseproxy: unix:{tmp_path}/admin.sock cannot be asked: no such file or directory\n"


@pytest.mark.parametrize("listen", [":0", "127.0.0.1:0", "0.0.0.0:0"])
def test_all_interfaces_are_asked_at_the_loopback(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:1", "--admin", listen]
    with SseproxyProcess(*arguments) as process:
        port = process.urls[-1].rpartition(":")[2]
        assert asked(["--admin", listen.replace(":0", f":{port}").replace("0.0.0.0:0", "0.0.0.0")], capsys)[0] == 0


def test_a_process_that_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    body = b'{"status": "draining", "away": []}'
    with peer(b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + body) as address:
        code, _, error = asked(["--ready", "--admin", str(address)], capsys)
    assert code == 1
    assert error == f"sseproxy: {address} answers 503 Service Unavailable to /readyz: {body.decode()}\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "does not speak HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "answers 302 Found to /healthz: nothing"),
        (b"HTTP/1.1 200", None),
        (b"HTTP/1.1 200 OK\r\n\r\nok" + b" " * 10**6, None),
    ],
    ids=["nothing", "ssh", "redirect", "cut", "long"],
)
def test_whatever_answers(answer: bytes, said: str | None) -> None:
    with peer(answer) as address:
        if said is None:
            assert Question(address, "/healthz").ask() in ("", "ok")
        else:
            with pytest.raises(Unhealthy, match=said):
                Question(address, "/healthz").ask()


def test_what_does_not_answer() -> None:
    with peer(None) as address, pytest.raises(Unhealthy, match=r"does not answer within 0\.2 s"):
        Question(address, "/healthz").ask(patience=0.2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "which process\\? -c FILE, --admin ADDR"),
        ("routes: []\n", "has no admin.listen"),
        ("admin: {listen: 9090}\n", "expected HOST:PORT"),
        ("admin: {listen: ':0'}\n", "port 0 lets the system choose"),
        ("admin: {listen: '${NOT_SET}'}\n", "variable NOT_SET is not set"),
        ("admin: [\n", "c.yaml:2:1: "),
    ],
    ids=["nothing", "none", "number", "zero", "variable", "broken"],
)
def test_where_to_ask_is_not_known(
    text: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = []
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)
        arguments = ["-c", str(tmp_path / "c.yaml")]
    code, out, error = asked(arguments, capsys)
    assert (code, out) == (1, "")
    assert len(error.splitlines()) == 1
    assert re.search(said, error)


def test_it_loads_little() -> None:
    """Every few seconds in every container: without the schema, the proxy and, by an address, YAML."""
    program = """
import sys
from sseproxy.cli import main
main(["healthcheck", "--admin", "127.0.0.1:1"])
print(*sorted({"aiohttp", "asyncio", "httptools", "pydantic", "yaml"} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "\n"
    assert "connection refused" in done.stderr


def test_a_proxy_without_an_admin_listener_does_not_load_what_serves_it() -> None:
    program = "import sys, sseproxy.process.serve; sys.exit('aiohttp' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
