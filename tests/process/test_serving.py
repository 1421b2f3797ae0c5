"""What does a process serve with when it has been reloaded, and until when with what it had before?"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from sseproxy.config.loader import load
from sseproxy.process.serving import Serving
from sseproxy.process.siblings import Place
from sseproxy.process.source import Snapshot
from sseproxy.runs.findings import Ask
from sseproxy.runs.terms import Belonging
from tests.support.certificates import new_authority
from tests.support.virtual_clock import VirtualLoop

SERVICE = "upstream: 'http://127.0.0.1:9'"
WITH_TICKETS = f"routes: [{{name: old, {SERVICE}, tickets: {{ttl: 200s}}}}]"
WITHOUT = f"routes: [{{name: new, {SERVICE}}}]"


def snapshot(folder: Path, text: str) -> Snapshot:
    file = folder / "sseproxy.yaml"
    file.write_text(text)
    return Snapshot.of(load(file, flags={}, environ={}))


def serving(first: Snapshot, test: Callable[[Serving], Awaitable[None]]) -> None:
    """Run `test` with a process that listens nowhere, and whose hours pass at once."""

    async def run() -> None:
        process = Serving(first, (), end_key=b"", instance="", place=Place())
        await process.start(())
        try:
            await test(process)
        finally:
            await process.close(0.0)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def test_a_route_that_is_gone_is_forgotten_with_its_last_ticket(tmp_path: Path) -> None:
    async def test(process: Serving) -> None:
        def retired() -> list[str]:
            return [route.name for route in process.app.tickets.paths.retired]

        await process.apply(snapshot(tmp_path, WITHOUT))
        assert retired() == ["old"]
        await asyncio.sleep(199)
        assert retired() == ["old"]
        await asyncio.sleep(20)
        assert retired() == []
        assert process.app.tickets.retired_until is None

    serving(snapshot(tmp_path, WITH_TICKETS), test)


def test_a_route_that_is_gone_is_served_until_its_runs_are_forgotten(tmp_path: Path) -> None:
    text = f"routes: [{{name: old, match: {{path: /a}}, {SERVICE}, journal: {{kind: answer}}}}]"

    async def test(process: Serving) -> None:
        journal, (old,) = process.app.journal, process.config.routes
        assert journal.service is not None
        assert old.journal is not None
        belongs = Belonging("old", old.journal, old.limits, b"scope", b"reader", b"owner")
        run = await journal.service.desk.create(Ask(belongs))
        assert run is not None
        service = journal.service

        def retired() -> list[str]:
            return [route.name for route in service.retired]

        await process.apply(snapshot(tmp_path, WITHOUT))
        assert retired() == ["old"]
        await asyncio.sleep(1000)
        assert retired() == ["old"]
        run.stop()
        await asyncio.sleep(old.journal.keep.age - 20)
        assert retired() == ["old"]
        await asyncio.sleep(40)
        assert retired() == []

    serving(snapshot(tmp_path, text), test)


def test_one_that_comes_back_is_served_again(tmp_path: Path) -> None:
    async def test(process: Serving) -> None:
        await process.apply(snapshot(tmp_path, WITHOUT))
        await process.apply(snapshot(tmp_path, WITH_TICKETS))
        assert process.app.tickets.paths.retired == ()
        await asyncio.sleep(1000)
        assert process.app.tickets.paths

    serving(snapshot(tmp_path, WITH_TICKETS), test)


def test_a_certificate_that_goes_between_check_and_use_changes_nothing(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    text = f"""
routes:
  - {{match: {{path: /a}}, {SERVICE}, tickets: {{}}}}
  - {{upstream: "https://127.0.0.1:9", tls: {{ca: {authority.certificate}}}}}
"""

    async def test(process: Serving) -> None:
        before = process.config
        late = snapshot(tmp_path, text)
        authority.certificate.unlink()
        try:
            await process.apply(late)
        except OSError:
            assert process.config is before
            assert not process.app.tickets.paths
        else:
            raise AssertionError("it was applied")

    serving(snapshot(tmp_path, WITHOUT), test)
