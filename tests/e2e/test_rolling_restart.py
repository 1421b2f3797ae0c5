"""Does a deploy disturb a client? Replicas of sseproxy are restarted, and the app behind it (docs/operations.md)."""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.blocking_client import fetch
from tests.support.busy_app import BusyApp, reserved_port
from tests.support.gateways import haproxy_before
from tests.support.inside import run_on
from tests.support.nginx import nginx_before_replicas
from tests.support.restless_clients import Place, Tally, at_work
from tests.support.settled import eventually
from tests.support.sseproxy_process import SseproxyProcess

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "operations.md"

FEEDS, ANSWERS = 1000, 200
DELAY, SPREAD = 2.0, 5.0

CONFIG = """\
server:
  listen: "{listen}"
  drain: {{delay: 2s, timeout: 20s, spread: {spread}s}}
admin: {{listen: "{admin}"}}
log: {{access: false}}
defaults: {{timeouts: {{connect_retry: {retry}}}}}
routes: [{{upstream: "http://127.0.0.1:{app}"}}]
"""

#: Seconds in which a crowd has come, or is back.
CROWD = 60.0


class Replica:
    """One sseproxy, which can be restarted at its address: of this machine, and of no other test."""

    def __init__(self, folder: Path, name: str, app: int, *, spread: float = SPREAD, retry: str = "off") -> None:
        host = f"127.{hash(folder) % 250 + 1}.{hash(name) % 250 + 1}.1"
        with socket.create_server((host, 0)) as public, socket.create_server((host, 0)) as private:
            self.place: Place = public.getsockname()
            self.admin_port: int = private.getsockname()[1]
        self.address = f"{host}:{self.place[1]}"
        self._config = folder / f"{name}.yaml"
        admin = f"{host}:{self.admin_port}"
        self._config.write_text(CONFIG.format(listen=self.address, admin=admin, app=app, spread=spread, retry=retry))
        self._process: SseproxyProcess

    async def start(self) -> None:
        self._process = await asyncio.to_thread(SseproxyProcess("-c", str(self._config)).__enter__)

    async def stop(self) -> None:
        """End it in order."""
        assert await asyncio.to_thread(self._process.stop, 50.0) == 0
        assert "Traceback" not in self._process.stderr.text

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def count(self, metric: str) -> int:
        """Return the sum of all series of a metric."""
        metrics = await asyncio.to_thread(fetch, self._process.urls[-1], "/metrics")
        lines = (line.split() for line in metrics.body.decode().splitlines())
        return sum(int(float(words[1])) for words in lines if words and words[0].startswith(f"{metric}{{"))

    async def wait_for_streams(self, number: int) -> None:
        """Wait until so many are open."""
        async with asyncio.timeout(CROWD):
            while await self.count("sseproxy_streams_open") != number:  # noqa: ASYNC110 - another process counts
                await asyncio.sleep(0.05)

    async def wait_until_used(self) -> None:
        """Wait until the gateway sends requests here."""
        async with asyncio.timeout(CROWD):
            while await self.count("sseproxy_requests_total") == 0:  # noqa: ASYNC110 - another process counts
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def two_replicas(folder: Path, app: int, *, spread: float = SPREAD) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two, of which the test may restart or stop the first."""
    one, two = Replica(folder, "one", app, spread=spread), Replica(folder, "two", app, spread=spread)
    await asyncio.gather(one.start(), two.start())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(two.stop)
        stack.push_async_callback(one.stop)
        yield one, two


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a whole crowd."""
    await eventually(condition, limit=CROWD)


def test_a_drain_spreads_feeds_and_lets_answers_finish(tmp_path: Path) -> None:
    async def test() -> None:
        with reserved_port() as bound:
            app = bound.getsockname()[1]
            async with BusyApp.serve(bound) as busy, two_replicas(tmp_path, app) as (one, two):
                tally = Tally()
                busy.goes_on.clear()
                feeds = (tally.event_source([one.place, two.place]) for _ in range(FEEDS))
                answers = (tally.whole_answer(one.place, 8, 500) for _ in range(ANSWERS))
                async with at_work(*feeds, *answers):
                    await until(lambda: tally.open == FEEDS)
                    await one.wait_for_streams(FEEDS + ANSWERS)
                    signalled = time.monotonic()
                    busy.goes_on.set()
                    await one.stop()
                    await until(lambda: tally.opened == 2 * FEEDS)
                    await until(lambda: tally.whole + len(tally.failures) == ANSWERS)
                    assert tally.failures == []
                    assert tally.whole == ANSWERS
                    await two.wait_for_streams(FEEDS)
                check_spread([end - signalled - DELAY for end in tally.ends])

    run_on("uvloop", test)


def check_spread(ends: list[float]) -> None:
    """Check that a thousand ends are as even as chance has it: none before the delay is over, and in no lump."""
    assert len(ends) == FEEDS
    assert min(ends) >= 0.0
    assert 0.7 * SPREAD <= max(ends) <= SPREAD + 5.0  # a machine that is busy takes its time
    for fifth in range(5):
        begin, end = fifth * SPREAD / 5, (fifth + 1) * SPREAD / 5
        share = sum(begin <= each < end or (fifth == 4 and each >= end) for each in ends) / FEEDS
        assert 0.05 <= share <= 0.45, sorted(ends)


Gateway = Callable[[Replica, Replica], contextlib.AbstractAsyncContextManager[int]]


def behind_nginx(one: Replica, two: Replica) -> contextlib.AbstractAsyncContextManager[int]:
    return nginx_before_replicas(one.address, two.address)


def behind_haproxy(one: Replica, two: Replica) -> contextlib.AbstractAsyncContextManager[int]:
    [backend] = re.findall(r"```haproxy\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert "\n    server one 10.0.0.1:8080\n" in backend
    backend = backend.replace("10.0.0.1:8080", f"{one.address} port {one.admin_port}")
    backend = backend.replace("10.0.0.2:8080", f"{two.address} port {two.admin_port}")
    # A check may take as long as its interval otherwise: a busy machine takes longer, and both replicas would be out.
    return haproxy_before(backend, "timeout check 60s")


@pytest.mark.parametrize("gateway", [behind_nginx, behind_haproxy])
def test_a_rolling_restart_disturbs_no_client(gateway: Gateway, tmp_path: Path) -> None:
    async def test() -> None:
        with reserved_port() as bound:
            app = bound.getsockname()[1]
            async with (
                BusyApp.serve(bound),
                two_replicas(tmp_path, app, spread=1.0) as replicas,
                gateway(*replicas) as port,
            ):
                tally, place = Tally(), ("127.0.0.1", port)
                async with at_work(
                    *(tally.event_source([place]) for _ in range(50)),
                    *(tally.answers(place, 10, 100) for _ in range(20)),
                    *(tally.short_requests(place, 0.05) for _ in range(10)),
                ):
                    await until(lambda: (tally.open == 50 and tally.whole > 50) or bool(tally.failures))
                    for replica in replicas:
                        await replica.restart()
                        await replica.wait_until_used()  # a deploy goes on when the gateway has seen the new one
                    await until(lambda: tally.open == 50)
                    assert tally.failures == []
                    assert len(tally.ends) >= 50  # each of the feeds has gone to the other replica at least once
                assert tally.failures == []

    run_on("uvloop", test)


def test_the_nginx_of_the_manual_is_that_of_the_file() -> None:
    whole = [line.strip() for line in (ROOT / "nginx/replicas.conf").read_text(encoding="utf-8").splitlines()]
    [block] = re.findall(r"```nginx\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert [line for line in block.splitlines() if line.strip() not in whole] == []


@contextlib.asynccontextmanager
async def one_replica(folder: Path, app: int, *, retry: str) -> AsyncIterator[Replica]:
    """One, in front of an app that is away now and then."""
    replica = Replica(folder, "one", app, retry=retry)
    await replica.start()
    try:
        yield replica
    finally:
        await replica.stop()


def test_an_app_that_restarts_is_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        with reserved_port() as bound:
            async with one_replica(tmp_path, bound.getsockname()[1], retry="60s") as replica:
                tally = Tally()
                async with at_work(
                    *(tally.event_source([replica.place]) for _ in range(50)),
                    *(tally.answers(replica.place, 5, 50) for _ in range(20)),
                    *(tally.short_requests(replica.place, 0.05) for _ in range(10)),
                ):
                    # It is not there at the beginning either, as that of a sidecar.
                    for restarts in range(3):
                        await asyncio.sleep(1.0)  # how long it is away
                        async with BusyApp.serve(bound):
                            await until(lambda restarts=restarts: tally.opened == 50 * (restarts + 1))  # type: ignore[misc]
                            before = tally.whole
                            await until(lambda before=before: tally.whole > before + 50)  # type: ignore[misc]
                    assert tally.failures == []
                assert tally.failures == []

    run_on("uvloop", test)


def test_without_connect_retry_an_event_source_is_lost(tmp_path: Path) -> None:
    """What `connect_retry` is for, and that these clients notice."""

    async def test() -> None:
        with reserved_port() as bound:
            async with one_replica(tmp_path, bound.getsockname()[1], retry="off") as replica:
                tally = Tally()
                async with at_work(tally.event_source([replica.place])):
                    async with BusyApp.serve(bound):
                        await until(lambda: tally.open == 1)
                    await until(lambda: bool(tally.failures))
                assert "502" in tally.failures[0]

    run_on("uvloop", test)
