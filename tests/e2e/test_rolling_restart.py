"""Does a deploy disturb a client? Replicas of sseproxy are restarted, and the app behind it (docs/operations.md)."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.support.blocking_client import fetch
from tests.support.busy_app import BusyApp, reserved_port
from tests.support.inside import run_on
from tests.support.nginx import nginx_before_replicas
from tests.support.restless_clients import Tally, at_work
from tests.support.sseproxy_process import SseproxyProcess

FEEDS, ANSWERS = 1000, 200
DELAY, SPREAD = 2.0, 5.0

CONFIG = """\
server:
  listen: "{listen}"
  drain: {{delay: 2s, timeout: 20s, spread: {spread}s}}
admin: {{listen: "127.0.0.1:0"}}
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
        with socket.create_server((host, 0)) as chosen:
            port = chosen.getsockname()[1]
        self.place = (host, port)
        self.address = f"{host}:{port}"
        self._config = folder / f"{name}.yaml"
        self._config.write_text(CONFIG.format(listen=self.address, app=app, spread=spread, retry=retry))
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

    async def count_open(self) -> int:
        """How many feeds it says are open."""
        metrics = await asyncio.to_thread(fetch, self._process.urls[-1], "/metrics")
        lines = (line.split() for line in metrics.body.decode().splitlines())
        return sum(int(float(words[1])) for words in lines if words and words[0].startswith("sseproxy_streams_open{"))


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
    """Wait for `condition`. TimeoutError: it did not come about."""
    async with asyncio.timeout(CROWD):
        while not condition():
            await asyncio.sleep(0.02)


def test_a_drain_spreads_feeds_and_lets_answers_finish(tmp_path: Path) -> None:
    async def test() -> None:
        with reserved_port() as bound:
            app = bound.getsockname()[1]
            async with BusyApp.serve(bound), two_replicas(tmp_path, app) as (one, two):
                tally = Tally()
                feeds = (tally.event_source([one.place, two.place]) for _ in range(FEEDS))
                answers = (tally.whole_answer(one.place, 8, 1000) for _ in range(ANSWERS))
                async with at_work(*feeds, *answers):
                    await until(lambda: tally.open == FEEDS)
                    assert await one.count_open() == FEEDS + ANSWERS
                    signalled = time.monotonic()
                    await one.stop()
                    await until(lambda: tally.opened == 2 * FEEDS)
                    await until(lambda: tally.whole + len(tally.failures) == ANSWERS)
                    assert tally.failures == []
                    assert tally.whole == ANSWERS
                    assert await two.count_open() == FEEDS
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


def test_a_rolling_restart_behind_nginx_disturbs_no_client(tmp_path: Path) -> None:
    async def test() -> None:
        with reserved_port() as bound:
            app = bound.getsockname()[1]
            async with (
                BusyApp.serve(bound),
                two_replicas(tmp_path, app, spread=1.0) as (one, two),
                nginx_before_replicas(one.address, two.address) as port,
            ):
                tally, nginx = Tally(), ("127.0.0.1", port)
                async with at_work(
                    *(tally.event_source([nginx]) for _ in range(50)),
                    *(tally.answers(nginx, 10, 100) for _ in range(20)),
                    *(tally.short_requests(nginx, 0.05) for _ in range(10)),
                ):
                    await until(lambda: tally.open == 50 and tally.whole > 50)
                    for replica in (one, two):
                        before = tally.whole
                        await replica.restart()
                        await until(lambda before=before: tally.whole > before + 100)  # type: ignore[misc]
                    await until(lambda: tally.open == 50)
                    assert tally.failures == []
                    assert len(tally.ends) >= 50  # each replica had some of the feeds
                assert tally.failures == []

    run_on("uvloop", test)
