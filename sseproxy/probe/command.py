"""What does ``sseproxy probe`` do from its first line to its exit code?"""

import asyncio
import functools
import json
import signal
import sys

from sseproxy.probe.chain import Examination, is_from_origin, with_script
from sseproxy.probe.connecting import Unreachable
from sseproxy.probe.origin import serving
from sseproxy.probe.progress import ProgressLine
from sseproxy.probe.report import Report, report_of_chain, report_of_fault, report_of_stream
from sseproxy.probe.script import Act, Script
from sseproxy.probe.target import Target
from sseproxy.probe.watching import Listener, watch

_OK, _COMPLAINT = 0, 1


def run(target: Target, total: float, *, as_json: bool) -> int:
    """Probe `target`, print the report and return the exit code.

    total: seconds for which a stream is watched, and of the longest silence that the probe's origin is asked for.
    """
    try:
        report = asyncio.run(_probe_with_progress(target, total, shows=not as_json and sys.stderr.isatty()))
    except KeyboardInterrupt:
        print("sseproxy probe: interrupted", file=sys.stderr)
        return _COMPLAINT
    print(json.dumps(report.facts, indent=2) if as_json else report.text)
    return _COMPLAINT if report.findings else _OK


async def probe(target: Target, total: float, listener: Listener | None = None) -> Report:
    """Find out what the chain in front of `target` does. What cannot be reached is a report, too."""
    try:
        # A service without scripts streams as ever. So nothing is asked of it twice.
        first = await watch(with_script(target, Script(Act.PING)), limit=total, listener=listener)
        if not is_from_origin(first):
            return report_of_stream(target.name, first)
        return report_of_chain(target.name, await Examination(target, total, listener).run())
    except Unreachable as why:
        return report_of_fault(target.name, str(why))
    except ExceptionGroup as group:
        # The chain was there a moment ago; of several that failed, one says enough.
        unreachable, rest = group.split(Unreachable)
        if unreachable is None or rest is not None:
            raise
        return report_of_fault(target.name, f"in the middle of the measurement: {_first(unreachable)}")


def serve(host: str, port: int) -> int:
    """Serve known events at known times until a signal comes; returns the exit code. port: 0 for a free one."""
    try:
        asyncio.run(_serve(host, port))
    except OSError as error:
        print(f"sseproxy probe: cannot listen on {host or '*'}:{port}: {error.strerror}", file=sys.stderr)
        return _COMPLAINT
    except KeyboardInterrupt:
        pass
    return _OK


async def _probe_with_progress(target: Target, total: float, *, shows: bool) -> Report:
    if not shows:
        return await probe(target, total)
    line = ProgressLine(sys.stderr, total)
    with line.shown():
        return await probe(target, total, line.hear)


def _first(group: ExceptionGroup[Unreachable]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(host: str, port: int) -> None:
    async with serving(host, port, functools.partial(print, flush=True)) as url:
        print(f"sseproxy probe --serve listening on {url}", file=sys.stderr)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()
