"""What does a SIGHUP change for the clients of a running proxy, and what does it leave alone?"""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.reloading import IGNORED, RELOADED, UNCHANGED, reloadable
from tests.support import scrape
from tests.support.blocking_client import Request, fetch
from tests.support.certificates import Certificate, new_authority, new_certificate
from tests.support.echo_upstream import EchoUpstream, echo_of
from tests.support.hand_upstream import HandUpstream
from tests.support.patience import LIMIT
from tests.support.processes import children, wait_until
from tests.support.redis_server import RedisServer

WORKERS = pytest.mark.parametrize("workers", [1, 2])
STREAM = {"Accept": "text/event-stream"}

#: Requests on connections of their own. That the kernel deals so many to one of two workers will not happen.
MANY = 24


@pytest.fixture
def first() -> Iterator[EchoUpstream]:
    with EchoUpstream("first") as upstream:
        yield upstream


@pytest.fixture
def second() -> Iterator[EchoUpstream]:
    with EchoUpstream("second") as upstream:
        yield upstream


def reached(url: str, path: str = "/") -> set[str]:
    """The upstreams that many requests reach, or the statuses that they get."""
    answers = [fetch(url, path) for _ in range(MANY)]
    return {echo_of(answer)["upstream"] if answer.status == 200 else str(answer.status) for answer in answers}


# ---- Routes and streams.


@WORKERS
def test_new_requests_get_the_new_routes(
    tmp_path: Path, workers: int, first: EchoUpstream, second: EchoUpstream
) -> None:
    with reloadable(tmp_path, workers=workers, routes=[{"upstream": first.url}]) as proxy:
        assert reached(proxy.url) == {"first"}
        said = proxy.reload(routes=[{"match": {"prefix": "/b"}, "upstream": second.url}])
        assert reached(proxy.url, "/b/c") == {"second"}
        assert reached(proxy.url) == {"404"}
        assert said[-1].endswith("reloaded: serving 1 route")
        assert sum("reloaded" in line for line in proxy.process.stderr.lines) == 1, "the file was read once"


@WORKERS
def test_a_running_stream_keeps_its_route(tmp_path: Path, workers: int, second: EchoUpstream) -> None:
    with HandUpstream() as upstream:
        route = {"name": "old", "upstream": upstream.url, "heartbeat": {"interval": "50ms", "comment": "old"}}
        with reloadable(tmp_path, workers=workers, routes=[route]) as proxy:
            with Request(proxy.url, "/", headers=STREAM) as stream, upstream.accept() as call:
                call.begin()
                call.send(b"data: 1\n\n")
                stream.wait_for(b"data: 1\n\n")
                proxy.reload(routes=[{"name": "new", "upstream": second.url}])
                assert reached(proxy.url) == {"second"}
                beats = stream.body.count(b": old\n")
                stream.read_until(lambda body: body.count(b": old\n") > beats + 2)
                call.send(b"data: 2\n\n")
                call.finish()
                assert b"data: 2\n\n" in stream.read()
            proxy.process.stdout.wait_for(
                lambda lines: any("route=old " in line and "upstream_end" in line for line in lines)
            )


def test_streams_of_before_count(tmp_path: Path) -> None:
    """`limits.streams` counts by the name of the route, whatever has become of it."""
    with HandUpstream() as upstream:
        route = {"name": "feed", "upstream": upstream.url, "limits": {"streams": 1}}
        with (
            reloadable(tmp_path, routes=[route]) as proxy,
            Request(proxy.url, "/", headers=STREAM) as stream,
            upstream.accept() as call,
        ):
            call.begin()
            assert stream.status == 200
            proxy.reload(routes=[{**route, "heartbeat": {"interval": "1s"}}])
            assert fetch(proxy.url, "/", headers=STREAM).status == 503
            proxy.reload(routes=[{**route, "limits": {"streams": 2}}])
            with Request(proxy.url, "/", headers=STREAM) as other, upstream.accept() as second_call:
                second_call.begin()
                assert other.status == 200


def test_an_end_is_known_again_behind_a_reload(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        route = {"name": "ends", "upstream": upstream.url, "end": {}}
        with reloadable(tmp_path, routes=[route]) as proxy:
            with Request(proxy.url, "/", headers=STREAM) as stream, upstream.accept() as call:
                call.begin()
                call.finish()
                name = stream.read().decode().strip().removeprefix("id: ")
            proxy.reload(routes=[{"match": {"path": "/x"}, "upstream": upstream.url}, route])
            assert fetch(proxy.url, "/", headers={**STREAM, "Last-Event-ID": name}).status == 204


def test_a_ticket_of_a_route_that_is_gone(tmp_path: Path, second: EchoUpstream) -> None:
    with HandUpstream() as upstream:
        route = {"name": "asked", "match": {"prefix": "/v1"}, "upstream": upstream.url, "tickets": {"ttl": "30s"}}
        with reloadable(tmp_path, routes=[route]) as proxy:
            with Request(proxy.url, "/_tickets/v1/x", method="POST", body=b"why?") as kept:
                assert kept.status == 201
                where = kept.field("Location")
            proxy.reload(routes=[{"upstream": second.url}])
            with Request(proxy.url, "/_tickets/v1/x", method="POST", body=b"again?") as late:
                assert late.status == 501, (
                    "there is no such service any more: it goes to the upstream, which has no POST"
                )
            assert where is not None
            with Request(proxy.url, where, headers=STREAM) as stream, upstream.accept() as call:
                assert call.body == b"why?"
                call.begin()
                call.send(b"data: because\n\n")
                stream.wait_for(b"data: because\n\n")
                call.finish()
                stream.read()
            assert fetch(proxy.url, where, headers=STREAM).status == 204, "it has ended, and is remembered"


# ---- What is wrong.


@WORKERS
def test_a_broken_file_changes_nothing_and_says_why(tmp_path: Path, workers: int, first: EchoUpstream) -> None:
    with reloadable(tmp_path, workers=workers, routes=[{"upstream": first.url}]) as proxy:
        proxy.write(routes=[{"upstrem": first.url, "heartbeat": {"interval": "soon"}}])
        said = proxy.hang_up(UNCHANGED)
        place = f"reload: {proxy.file}:1:"
        wrong = [line for line in said if place in line]
        assert any("upstrem: unknown key (did you mean upstream?)" in line for line in wrong)
        assert any("routes[0].heartbeat.interval" in line for line in wrong)
        assert all(" ERROR " in line for line in wrong)
        assert reached(proxy.url) == {"first"}
        proxy.file.write_text("routes: [")
        assert any("reload: " + str(proxy.file) in line for line in proxy.hang_up(UNCHANGED))
        proxy.file.unlink()
        assert any("cannot be read" in line for line in proxy.hang_up(UNCHANGED))
        assert reached(proxy.url) == {"first"}


@WORKERS
def test_what_needs_a_restart_is_named_and_all_else_holds(
    tmp_path: Path, workers: int, first: EchoUpstream, second: EchoUpstream
) -> None:
    with reloadable(tmp_path, workers=workers, routes=[{"upstream": first.url}]) as proxy:
        proxy.file.write_text(
            json.dumps(
                {
                    "server": {"listen": "127.0.0.1:1", "workers": workers + 1},
                    "admin": {"listen": "127.0.0.1:2"},
                    "store": {"memory": "64MiB"},
                    "routes": [{"upstream": second.url}],
                }
            )
        )
        said = proxy.hang_up()
        for key in ("server.listen", "server.workers", "admin", "store"):
            assert any(f"reload: {key} has changed, which needs a restart" in line for line in said), key
        assert reached(proxy.url) == {"second"}
        assert fetch(proxy.admin, "/readyz").status == 200
        assert workers == 1 or len(children(proxy.process.pid)) == workers


def test_tickets_do_not_come_to_workers(tmp_path: Path, first: EchoUpstream) -> None:
    """A file with one worker and tickets is sound, but there are two until a restart."""
    with reloadable(tmp_path, workers=2, routes=[{"upstream": first.url}]) as proxy:
        proxy.file.write_text(
            json.dumps({**proxy.fixed, "server": {}, "routes": [{"upstream": first.url, "tickets": {}}]})
        )
        said = proxy.hang_up(UNCHANGED)
        assert any("server.workers: is 2 until a restart" in line for line in said)


def test_a_password_in_a_broken_file_is_not_logged(tmp_path: Path, first: EchoUpstream) -> None:
    with reloadable(tmp_path, routes=[{"upstream": first.url}]) as proxy:
        proxy.write(store={"url": "redis://user:hunter2@"}, routes=[{"upstream": "http://user:hunter2@h:99999"}])
        assert "hunter2" not in "\n".join(proxy.hang_up(UNCHANGED))


# ---- Signals.


@WORKERS
def test_signals_that_tools_send_are_harmless(tmp_path: Path, workers: int, first: EchoUpstream) -> None:
    names = [
        "SIGUSR1",
        "SIGUSR2",
        "SIGWINCH",
        "SIGPIPE",
        "SIGALRM",
        "SIGVTALRM",
        "SIGPROF",
        "SIGIO",
        "SIGPWR",
        "SIGURG",
    ]
    with reloadable(tmp_path, workers=workers, routes=[{"upstream": first.url}]) as proxy:
        processes = [proxy.process.pid, *(children(proxy.process.pid) if workers > 1 else [])]
        for pid in processes:
            for name in names:
                os.kill(pid, getattr(signal, name))
        if workers > 1:
            for pid in processes[1:]:
                os.kill(pid, signal.SIGHUP)
        assert reached(proxy.url) == {"first"}
        assert workers == 1 or children(proxy.process.pid) == processes[1:]


@WORKERS
def test_of_many_signals_none_is_lost(tmp_path: Path, workers: int, first: EchoUpstream, second: EchoUpstream) -> None:
    """The file as it is at the last signal holds in the end, however close together they come."""
    with reloadable(tmp_path, workers=workers, routes=[{"upstream": first.url}]) as proxy:
        for _ in range(20):
            proxy.write(routes=[{"upstream": first.url}])
            proxy.process.send_signal(signal.SIGHUP)
            proxy.write(routes=[{"upstream": second.url}])
            proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: reached(proxy.url) == {"second"})


@WORKERS
def test_a_reload_while_draining_is_ignored(tmp_path: Path, workers: int) -> None:
    with (
        HandUpstream() as upstream,
        reloadable(tmp_path, workers=workers, routes=[{"upstream": upstream.url}]) as proxy,
        Request(proxy.url, "/", method="POST", headers=STREAM, body=b"{}") as stream,
        upstream.accept() as call,
    ):
        call.begin()
        call.send(b"data: 1\n\n")
        stream.wait_for(b"data: 1\n\n")
        proxy.process.send_signal(signal.SIGTERM)
        proxy.process.stderr.wait_for(lambda lines: sum("draining:" in line for line in lines) == workers)
        proxy.hang_up(IGNORED)
        call.finish()
        stream.read()


@WORKERS
def test_signals_at_the_end_do_not_make_it_a_death(tmp_path: Path, workers: int, first: EchoUpstream) -> None:
    with reloadable(tmp_path, workers=workers, routes=[{"upstream": first.url}]) as proxy:
        proxy.process.send_signal(signal.SIGHUP)
        proxy.process.send_signal(signal.SIGTERM)
        while proxy.process.is_alive:
            with contextlib.suppress(ProcessLookupError):
                proxy.process.send_signal(signal.SIGHUP)
        assert proxy.process.wait() == 0


def test_a_worker_that_dies_comes_back_with_what_holds(
    tmp_path: Path, first: EchoUpstream, second: EchoUpstream
) -> None:
    with reloadable(tmp_path, workers=2, routes=[{"upstream": first.url}]) as proxy:
        proxy.reload(routes=[{"upstream": second.url}])
        proxy.write(routes=[{"upstrem": "is not read"}])
        before = children(proxy.process.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(children(proxy.process.pid)) - set(before)) == 2)
        assert reached(proxy.url) == {"second"}
        proxy.reload(routes=[{"upstream": first.url}])
        assert reached(proxy.url) == {"first"}, "and hears of the next one"


# ---- Where it reads.


def test_a_file_behind_a_link_that_is_exchanged(tmp_path: Path, first: EchoUpstream, second: EchoUpstream) -> None:
    """A ConfigMap: ``sseproxy.yaml`` leads to ``..data/sseproxy.yaml``, and ``..data`` to another folder each time."""
    with reloadable(tmp_path, routes=[{"upstream": first.url}]) as proxy:
        for upstream in (second, first):
            folder = tmp_path / f"..{upstream.url.rpartition(':')[2]}"
            folder.mkdir()
            (folder / "sseproxy.yaml").write_text(json.dumps({**proxy.fixed, "routes": [{"upstream": upstream.url}]}))
            (tmp_path / "..new").symlink_to(folder.name)
            (tmp_path / "..new").rename(tmp_path / "..data")
            if not proxy.file.is_symlink():
                (tmp_path / "link").symlink_to("..data/sseproxy.yaml")
                (tmp_path / "link").rename(proxy.file)
            proxy.hang_up()
            assert reached(proxy.url) == {"second" if upstream is second else "first"}


def test_variables_win_over_the_file_again(tmp_path: Path, first: EchoUpstream, second: EchoUpstream) -> None:
    variables = {"SSEPROXY_UPSTREAM": first.url, "WHERE": "/here"}
    route = {"match": {"prefix": "${WHERE}"}, "upstream": second.url}
    with reloadable(tmp_path, environment=variables, routes=[route]) as proxy:
        proxy.reload(routes=[route, {"match": {"prefix": "/there"}, "upstream": second.url}])
        assert reached(proxy.url, "/here") == reached(proxy.url, "/there") == {"first"}


# ---- Certificates.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return new_authority(tmp_path_factory.mktemp("authority"))


def renew(folder: Path, authority: Certificate, name: str) -> None:
    """Put a new pair where the file of the test finds it."""
    made = new_certificate(folder, authority, name, f"DNS:localhost,IP:127.0.0.1,DNS:{name}.test")
    made.certificate.replace(folder / "shown.pem")
    made.key.replace(folder / "shown.key")


def names_shown(url: str, authority: Certificate) -> set[str]:
    """The common names of the certificates that many new connections see."""
    found = set()
    for _ in range(MANY):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address) as plain:
            context = authority.client_context()
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                shown = secure.getpeercert()
                assert shown is not None
                found.add(str(dict(part[0] for part in shown["subject"])["commonName"]))  # type: ignore[misc]
    return found


@WORKERS
def test_a_new_certificate_is_for_new_connections(tmp_path: Path, workers: int, authority: Certificate) -> None:
    renew(tmp_path, authority, "one")
    tls = {"certificate": "shown.pem", "key": "shown.key"}
    trusting = authority.client_context()
    with (
        HandUpstream() as upstream,
        reloadable(tmp_path, workers=workers, server={"tls": tls}, routes=[{"upstream": upstream.url}]) as proxy,
    ):
        assert names_shown(proxy.url, authority) == {"one"}
        with Request(proxy.url, "/", headers=STREAM, tls=trusting) as stream, upstream.accept() as call:
            call.begin()
            call.send(b"data: 1\n\n")
            stream.wait_for(b"data: 1\n\n")
            renew(tmp_path, authority, "two")
            proxy.hang_up()
            assert names_shown(proxy.url, authority) == {"two"}
            call.send(b"data: 2\n\n")
            stream.wait_for(b"data: 2\n\n")

            other = new_certificate(tmp_path, authority, "three", "DNS:localhost")
            other.certificate.replace(tmp_path / "shown.pem")
            said = proxy.hang_up(UNCHANGED)
            assert any("server.tls.key: does not belong to the certificate" in line for line in said)
            assert names_shown(proxy.url, authority) == {"two"}

            (tmp_path / "shown.pem").write_text("no certificate")
            proxy.hang_up(UNCHANGED)
            call.send(b"data: 3\n\n")
            stream.wait_for(b"data: 3\n\n")
            call.finish()
            stream.read()
        if workers > 1:
            before = children(proxy.process.pid)
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len(set(children(proxy.process.pid)) - set(before)) == workers)
        assert names_shown(proxy.url, authority) == {"two"}, "also at a worker that starts beside a broken file"


def test_tls_begins_and_ends_with_a_reload(tmp_path: Path, authority: Certificate, first: EchoUpstream) -> None:
    renew(tmp_path, authority, "one")
    trusting = authority.client_context()
    with reloadable(tmp_path, routes=[{"upstream": first.url}]) as proxy:
        secure = proxy.url.replace("http://", "https://")
        kept = Request(proxy.url, "/")
        for _ in range(2):
            tls = {"certificate": "shown.pem", "key": "shown.key"}
            proxy.reload(server={**proxy.fixed["server"], "tls": tls}, routes=[{"upstream": first.url}])
            answer = fetch(secure, "/", tls=trusting)
            assert (answer.status, echo_of(answer)["fields"]["x-forwarded-proto"]) == (200, "https")
            proxy.reload(routes=[{"upstream": first.url}])
            assert echo_of(fetch(proxy.url, "/"))["fields"]["x-forwarded-proto"] == "http"
        kept.read()
        assert kept.status == 200
        kept.close()


# ---- Everything else that applies.


def test_trust_in_proxies_reaches_connections_that_are_open(tmp_path: Path, first: EchoUpstream) -> None:
    with reloadable(tmp_path, server={"trusted_proxies": []}, routes=[{"upstream": first.url}]) as proxy:
        address = ("127.0.0.1", int(proxy.url.rpartition(":")[2]))

        def asked() -> str:
            kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
            data = b""
            while b"x-forwarded-for" not in data or not data.endswith(b"}"):
                data += kept.recv(65536)
            body = data.partition(b"\r\n\r\n")[2]
            return str(json.loads(body)["fields"]["x-forwarded-for"])

        with socket.create_connection(address, timeout=LIMIT) as kept:
            assert asked() == "127.0.0.1"
            trusting = {**proxy.fixed["server"], "trusted_proxies": ["127.0.0.1/32"]}
            proxy.reload(server=trusting, routes=[{"upstream": first.url}])
            assert asked() == "192.0.2.7, 127.0.0.1"
            proxy.reload(routes=[{"upstream": first.url}])
            assert asked() == "127.0.0.1"


def test_the_log_changes_its_form_and_level(tmp_path: Path, first: EchoUpstream) -> None:
    with reloadable(tmp_path, routes=[{"upstream": first.url}]) as proxy:
        routes = [{"upstream": first.url}]
        assert fetch(proxy.url, "/text").status == 200
        proxy.process.stdout.wait_for(lambda lines: any("path=/text" in line for line in lines))
        proxy.reload(log={"format": "json"}, routes=routes)
        assert fetch(proxy.url, "/json").status == 200
        lines = proxy.process.stdout.wait_for(lambda lines: any("/json" in line for line in lines))
        assert json.loads(lines[-1])["path"] == "/json"
        proxy.reload(log={"access": False}, routes=routes)
        assert fetch(proxy.url, "/silent").status == 200
        proxy.reload(log={"access": True}, routes=routes)
        assert fetch(proxy.url, "/again").status == 200
        lines = proxy.process.stdout.wait_for(lambda lines: any("/again" in line for line in lines))
        assert not any("/silent" in line for line in lines)


def test_the_limit_of_connections_changes(tmp_path: Path, first: EchoUpstream) -> None:
    routes = [{"upstream": first.url}]
    with reloadable(tmp_path, routes=routes) as proxy:
        proxy.reload(server={**proxy.fixed["server"], "connections": 1}, routes=routes)
        with Request(proxy.url, "/slow", method="POST", headers={"Transfer-Encoding": "chunked"}) as busy:
            assert fetch(proxy.url, "/").status == 503
            proxy.reload(routes=routes)
            assert fetch(proxy.url, "/").status == 200
            busy.close()


@WORKERS
def test_figures_go_on(tmp_path: Path, workers: int, first: EchoUpstream) -> None:
    def requests(name: str) -> float:
        return scrape.value(proxy.admin, "sseproxy_requests_total", route=name)

    with reloadable(tmp_path, workers=workers, routes=[{"name": "a", "upstream": first.url}]) as proxy:
        reached(proxy.url)
        proxy.reload(routes=[{"name": "b", "upstream": first.url}])
        reached(proxy.url)
        assert (requests("a"), requests("b")) == (MANY, MANY)
        names = {
            dict(labels).get("route") for name, labels in scrape.scrape(proxy.admin) if name == "sseproxy_streams_open"
        }
        assert names == {"b"}
        proxy.reload(routes=[{"name": "a", "upstream": first.url}])
        reached(proxy.url)
        assert requests("a") == 2 * MANY


def test_the_new_limit_of_a_drain_holds(tmp_path: Path) -> None:
    with HandUpstream() as upstream:
        routes = [{"upstream": upstream.url}]
        with (
            reloadable(tmp_path, server={"drain": {"timeout": "1h"}}, routes=routes) as proxy,
            Request(proxy.url, "/", method="POST", headers=STREAM, body=b"{}") as stream,
            upstream.accept() as call,
        ):
            call.begin()
            call.send(b"data: 1\n\n")
            stream.wait_for(b"data: 1\n\n")
            proxy.reload(server={**proxy.fixed["server"], "drain": {"timeout": "100ms"}}, routes=routes)
            assert proxy.process.stop() == 0, "it did not wait for an hour"


def test_a_terminal_that_closes_costs_no_stream(tmp_path: Path, first: EchoUpstream) -> None:
    """It hangs up on all processes: the file is read again, and that is all."""
    with reloadable(tmp_path, workers=2, routes=[{"upstream": first.url}]) as proxy:
        before = len(proxy.process.stderr.lines)
        for pid in (*children(proxy.process.pid), proxy.process.pid):
            os.kill(pid, signal.SIGHUP)
        proxy.process.stderr.wait_for(lambda lines: any(RELOADED in line for line in lines[before:]))
        assert reached(proxy.url) == {"first"}


def test_routes_of_redis_come_and_go(tmp_path: Path, first: EchoUpstream) -> None:
    def feed(path: str, redis: RedisServer) -> dict[str, object]:
        return {"name": path, "match": {"path": f"/{path}"}, "redis": {"channel": path, "url": redis.url}}

    def published(redis: RedisServer, channel: str, text: str) -> bool:
        return bool(redis.cli("PUBLISH", channel, text))

    rest = {"upstream": first.url}
    with RedisServer() as old, RedisServer() as new, reloadable(tmp_path, routes=[rest]) as proxy:
        proxy.reload(routes=[feed("a", old), rest])
        with Request(proxy.url, "/a", headers=STREAM) as reader:
            assert reader.status == 200
            wait_until(lambda: published(old, "a", "one"))
            reader.wait_for(b"data: one\n\n")
            for routes in ([feed("b", old), rest], [feed("b", new), rest]):
                proxy.reload(routes=routes)
                assert fetch(proxy.url, "/a").status == 200, "an ordinary route has it now"
                with Request(proxy.url, "/b", headers=STREAM) as other:
                    assert other.status == 200
                    here = old if routes[0] == feed("b", old) else new
                    wait_until(lambda here=here: published(here, "b", "two"))  # type: ignore[misc]
                    other.wait_for(b"data: two\n\n")
                assert published(old, "a", "three"), "the reader has its events, whatever the file says"
                reader.wait_for(b"data: three\n\n")
        # With its last reader the connection ends, too: only the one that asks is left.
        wait_until(lambda: len(old.cli("CLIENT", "LIST").splitlines()) == 1)
        assert len(new.cli("CLIENT", "LIST").splitlines()) > 1
        nowhere = {"name": "c", "match": {"path": "/c"}, "redis": {"channel": "c", "url": "redis://127.0.0.1:1"}}
        proxy.reload(routes=[nowhere, rest])
        assert fetch(proxy.admin, "/readyz").status == 200, "a Redis that a reload names wrongly turns no client away"


def test_authorize_leads_elsewhere(tmp_path: Path, first: EchoUpstream) -> None:
    with EchoUpstream("guard") as guard:

        def routes(**authorize: object) -> list[dict[str, object]]:
            return [{"upstream": first.url, **({"authorize": authorize} if authorize else {})}]

        with reloadable(tmp_path, routes=routes(url="http://127.0.0.1:9/")) as proxy:
            assert fetch(proxy.url, "/").status == 503
            proxy.reload(routes=routes(url=guard.url + "/who"))
            assert fetch(proxy.url, "/").status == 200
            proxy.reload(routes=routes())
            assert fetch(proxy.url, "/").status == 200
