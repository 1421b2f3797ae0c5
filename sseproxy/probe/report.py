"""How is written what was found: in words, and as JSON?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sseproxy.probe.cures import Fault
from sseproxy.probe.diagnosis import (
    Finding,
    diagnose_chain,
    diagnose_stream,
    hops_of,
    hops_of_chain,
    silence_after,
    silence_before,
)
from sseproxy.probe.hops import Seen, other_signs
from sseproxy.probe.measured import Chain, Noticed
from sseproxy.probe.stream import Ending, Stream


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be said of one URL. stream: what is shown of it, None if nothing was reached. url: without secrets."""

    url: str
    findings: tuple[Finding, ...]
    stream: Stream | None = None
    chain: Chain | None = None
    hops: tuple[Seen, ...] = ()
    signs: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "url": self.url,
            "ok": not self.findings,
            **({} if self.stream is None else _facts_of_stream(self.stream)),
            "hops": [{"name": str(seen.hop), "shown_by": seen.shown_by} for seen in self.hops],
            "signs": list(self.signs),
            "chain": None if self.chain is None else _facts_of_chain(self.chain),
            "findings": [
                {
                    "fault": str(finding.fault),
                    "what": finding.what,
                    "cures": [
                        {"hop": cure.hop and str(cure.hop), "change": cure.change, "hop_is_seen": cure.is_seen}
                        for cure in finding.cures
                    ],
                }
                for finding in self.findings
            ],
        }

    @property
    def text(self) -> str:
        """The report in words."""
        rows = [] if self.stream is None else _rows_of_stream(self.stream)
        if self.chain is not None:
            rows += _rows_of_chain(self.chain)
        if self.stream is not None:
            shown = [f"{seen.hop} ({seen.shown_by})" for seen in self.hops]
            rows.append(("hops", ", ".join([*shown, *self.signs]) or "none shows in the header fields"))
        width = max((len(name) for name, _ in rows), default=0)
        lines = [self.url, *(f"  {name:<{width}}  {value}" for name, value in rows), ""]
        for finding in self.findings:
            lines.append(f"! {finding.what} [{finding.fault}]")
            lines += [f"    {'>' if cure.is_seen else '-'} {cure}" for cure in finding.cures]
        if not self.findings:
            lines.append("Nothing to complain of.")
        return "\n".join(_printable(line) for line in lines)


def report_of_stream(url: str, stream: Stream) -> Report:
    """The report on a service that we know nothing about."""
    hops = hops_of(stream)
    return Report(url, diagnose_stream(stream), stream, None, hops, other_signs(stream.fields, hops))


def report_of_chain(url: str, chain: Chain) -> Report:
    """The report on a chain with the probe's origin behind it."""
    hops = hops_of_chain(chain)
    signs = other_signs((*chain.plain.fields, *chain.request_fields.items()), hops)
    return Report(url, diagnose_chain(chain), chain.plain, chain, hops, signs)


def report_of_fault(url: str, why: str) -> Report:
    """The report on what could not be reached."""
    return Report(url, (Finding(Fault.UNREACHABLE, why),))


# One stream.


def _facts_of_stream(stream: Stream) -> dict[str, Any]:
    events, heartbeats = stream.events, stream.heartbeats
    return {
        "status": stream.status,
        "content_type": stream.field("content-type"),
        "content_encoding": stream.coding,
        "head_seconds": _rounded(stream.head_at),
        "first_byte_seconds": _rounded(stream.first_byte_at),
        "events": len(events),
        "reads": len(stream.reads),
        "heartbeats": len(heartbeats),
        "heartbeat_interval": _rounded(_interval(stream)),
        "longest_silence": _rounded(stream.longest_silence),
        "ending": str(stream.ending),
        "ended_seconds": _rounded(stream.seconds),
    }


def _rows_of_stream(stream: Stream) -> list[tuple[str, str]]:
    kind = stream.field("content-type") or "no type"
    head = "none came" if stream.head_at is None else f"{stream.status}, {kind}, after {stream.head_at:.2f} s"
    if stream.coding:
        head += f", {stream.coding}-coded"
    first, interval = stream.first_byte_at, _interval(stream)
    beats = str(len(stream.heartbeats)) + (f", every {interval:.1f} s" if interval is not None else "")
    ending = "cleanly" if stream.ending is Ending.CLEAN else str(stream.ending)
    if stream.ending is Ending.OPEN:
        end = f"is still open after {stream.seconds:.1f} s, when the probe left"
    else:
        end = f"{ending}, after {stream.seconds:.1f} s"
    return [
        ("head", head),
        ("first byte", "none came" if first is None else f"after {first:.2f} s"),
        ("events", f"{len(stream.events)}, in {len(stream.reads)} reads"),
        ("heartbeats", beats),
        ("longest silence", f"{stream.longest_silence:.1f} s"),
        ("end", end),
    ]


def _interval(stream: Stream) -> float | None:
    """Seconds between heartbeats, on average of those that came."""
    beats = stream.heartbeats
    return (beats[-1].at - beats[0].at) / (len(beats) - 1) if len(beats) > 1 else None


# A chain.


def _facts_of_chain(chain: Chain) -> dict[str, Any]:
    return {
        "silence_seconds": chain.silence,
        "cut_before_head": _rounded(silence_before(chain)),
        "cut_after_head": _rounded(silence_after(chain)),
        "status_before_head": chain.before.status,
        "ending_after_head": str(chain.after.ending),
        "ending_of_a_break": str(chain.broken.ending),
        "round_trip": _rounded(chain.round_trip),
        "origin_saw_version": chain.version,
        "origin_saw_fields": dict(chain.request_fields),
        "heartbeats_in_silence": len(chain.after.heartbeats),
        "disconnect_before_head": _facts_of_notice(chain.left_before),
        "disconnect_after_head": _facts_of_notice(chain.left_after),
    }


def _facts_of_notice(noticed: Noticed | None) -> Mapping[str, Any] | None:
    if noticed is None:
        return None
    return {
        "noticed_after": _rounded(noticed.after),
        "limit": noticed.limit,
        "noticed_after_while_writing": None if noticed.while_writing is None else _rounded(noticed.while_writing.after),
    }


def _rows_of_chain(chain: Chain) -> list[tuple[str, str]]:
    return [
        ("silence before the head", _silence(chain, silence_before(chain))),
        ("silence behind the head", _silence(chain, silence_after(chain))),
        ("heartbeats in it", str(len(chain.after.heartbeats))),
        ("a break of the service", "looks whole" if chain.broken.ending is Ending.CLEAN else "is seen as one"),
        ("disconnect before the head", _notice(chain.left_before)),
        ("disconnect behind the head", _notice(chain.left_after)),
        ("the service is asked in", chain.version or "unknown"),
    ]


def _silence(chain: Chain, cut: float | None) -> str:
    return f"may last {chain.silence:g} s at least" if cut is None else f"is cut after {cut:.1f} s"


def _notice(noticed: Noticed | None) -> str:
    if noticed is None:
        return "not measured"
    if noticed.after is None:
        return f"does not reach the service within {noticed.limit:g} s"
    return f"reaches the service after {noticed.after:.2f} s"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _printable(line: str) -> str:
    """What a header field says could steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
