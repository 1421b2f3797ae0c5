"""How often, how long and for which failures is an upstream tried again that takes no connections?"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sseproxy.core.errors import Draining
from sseproxy.core.stream.timeouts import TimeoutPolicy
from sseproxy.http1.client import UpstreamConnection
from sseproxy.origins.faults import is_away
from sseproxy.origins.outages import Outages
from sseproxy.origins.pools import Lease, Pool
from tests.support.virtual_clock import VirtualLoop, now, passing

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
RETRY = 30.0
PATIENT = TimeoutPolicy(connect=5.0, connect_retry=RETRY)


class Upstream:
    """Something that is away until `back` is set. tries: when it was tried."""

    def __init__(self, error: OSError = REFUSED) -> None:
        self.error: OSError | None = error
        self.tries: list[float] = []
        self.pool = Pool(self.connect)
        self.outages = Outages(self.pool, "a.test:80")

    async def connect(self) -> UpstreamConnection:
        self.tries.append(now())
        if self.error is not None:
            raise type(self.error)(*self.error.args)
        return UpstreamConnection(asyncio.get_running_loop(), is_local=True)

    async def lease(self, timeouts: TimeoutPolicy = PATIENT) -> Lease:
        return await self.outages.connect(timeouts, anew=False)

    def waiting(self, count: int) -> list[asyncio.Task[Lease]]:
        return [asyncio.create_task(self.lease()) for _ in range(count)]


def in_no_time(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `test` on a loop where time passes only when nothing else is left to do."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(test())


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        FileNotFoundError(errno.ENOENT, "no such socket"),
        ConnectionResetError(errno.ECONNRESET, "in the handshake"),
        OSError(errno.EHOSTUNREACH, "no route"),
        OSError(errno.ENETUNREACH, "no network"),
        OSError("Multiple exceptions: one for each address"),
        socket.gaierror(socket.EAI_NONAME, "no such name"),
        socket.gaierror(socket.EAI_AGAIN, "no answer yet"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}",
)
def test_a_service_that_is_away(error: OSError) -> None:
    assert is_away(error)

    async def test() -> None:
        upstream = Upstream(error)
        asyncio.get_running_loop().call_later(10.0, setattr, upstream, "error", None)
        (await upstream.lease()).close()
        assert 10.0 <= upstream.tries[-1] - upstream.tries[0] <= 11.0

    in_no_time(test)


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(errno.ETIMEDOUT, "too long"),
        TimeoutError(),
        ssl.SSLError(errno.ENOENT, "a number of OpenSSL's"),
        ssl.SSLCertVerificationError(1, "expired"),
        OSError(errno.EMFILE, "no descriptors"),
        PermissionError(errno.EACCES, "not ours to open"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}",
)
def test_a_failure_that_time_does_not_cure(error: OSError) -> None:
    assert not is_away(error)

    async def test() -> None:
        upstream, began = Upstream(error), now()
        with pytest.raises(type(error)):
            await upstream.lease()
        assert (now() - began, len(upstream.tries)) == (0.0, 1)

    in_no_time(test)


def test_the_wait_has_an_end_and_the_last_try_is_there() -> None:
    async def test() -> None:
        upstream, began = Upstream(), now()
        with pytest.raises(ConnectionRefusedError):
            await upstream.lease()
        assert now() - began == pytest.approx(RETRY)
        assert upstream.tries[-1] == now()

    in_no_time(test)


def test_pauses_grow_to_a_second() -> None:
    async def test() -> None:
        upstream = Upstream()
        with pytest.raises(ConnectionRefusedError):
            await upstream.lease()
        pauses = [later - earlier for earlier, later in zip(upstream.tries, upstream.tries[1:], strict=False)][:-1]
        assert pauses[0] <= 0.05
        assert max(pauses) <= 1.0
        assert all(pause >= 0.5 for pause in pauses[10:])

    in_no_time(test)


def test_a_thousand_requests_share_one_search() -> None:
    async def test() -> None:
        upstream = Upstream()
        tasks = upstream.waiting(1000)
        await passing(0.0)
        assert len(upstream.tries) == 1000  # each has seen for itself
        await passing(20.0)
        assert len(upstream.tries) < 1000 + 60
        upstream.error, began = None, now()
        leases = await asyncio.gather(*tasks)
        assert len(set(leases)) == 1000
        went_on = sorted(at for at in upstream.tries if at > began)
        assert went_on[-1] - went_on[0] > 0.1, "they go on one after the other"
        assert now() - began < 2.0
        await upstream.pool.close()

    in_no_time(test)


def test_an_upstream_that_refuses_again_is_waited_for_again() -> None:
    async def test() -> None:
        upstream = Upstream()
        tasks = upstream.waiting(300)
        await passing(1.0)
        upstream.error = None
        while upstream.pool.leased < 20:
            await passing(0.001)
        upstream.error = REFUSED
        await passing(5.0)
        assert upstream.pool.leased < 300
        upstream.error = None
        assert len(set(await asyncio.gather(*tasks))) == 300
        await upstream.pool.close()

    in_no_time(test)


def test_each_has_its_own_deadline() -> None:
    async def test() -> None:
        upstream, ended = Upstream(), list[float]()
        began = now()
        for retry in (1.0, 10.0):
            task = asyncio.create_task(upstream.lease(TimeoutPolicy(connect_retry=retry)))
            task.add_done_callback(lambda _: ended.append(now() - began))
        await passing(20.0)
        assert ended == [pytest.approx(1.0), pytest.approx(10.0)]

    in_no_time(test)


def test_the_search_ends_with_the_last_who_waits() -> None:
    async def test() -> None:
        upstream = Upstream()
        alone = len(asyncio.all_tasks())
        first, second = upstream.waiting(2)
        await passing(3.0)
        assert len(asyncio.all_tasks()) == alone + 3
        first.cancel()
        await passing(3.0)
        assert len(asyncio.all_tasks()) == alone + 2
        second.cancel()
        await passing(0.0)
        await passing(0.0)
        assert len(asyncio.all_tasks()) == alone
        tried = len(upstream.tries)
        await passing(10.0)
        assert len(upstream.tries) == tried

    in_no_time(test)


def test_a_drain_ends_all_waits_and_lets_no_new_one_begin() -> None:
    async def test() -> None:
        upstream = Upstream()
        tasks = upstream.waiting(3)
        await passing(3.0)
        began = now()
        upstream.outages.drain()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [Draining] * 3
        with pytest.raises(Draining) as late:
            await upstream.lease()
        assert now() - began < 0.01
        assert "refused" in str(late.value)
        assert "refused" not in late.value.detail
        upstream.error = None
        (await upstream.lease()).close()

    in_no_time(test)


def test_the_log_has_a_pair_of_lines_for_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        upstream = Upstream()
        tasks = upstream.waiting(10)
        await passing(3.0)
        upstream.error = None
        await asyncio.gather(*tasks)
        (await upstream.lease()).close()
        await upstream.pool.close()

    in_no_time(test)
    away, back = [record.getMessage() for record in caplog.records if record.name.endswith("outages")]
    assert away.startswith("a.test:80 takes no connections, trying again: ")
    assert back.startswith("a.test:80 takes connections after 3.")
