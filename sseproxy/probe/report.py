"""How is written what was found: in words, and as JSON?"""

from typing import Any

from sseproxy.core.frozen import frozen
from sseproxy.probe.cures import Fault
from sseproxy.probe.diagnosis import (
    Finding,
    diagnose_chain,
    diagnose_stream,
    hops_of,
    hops_of_chain,
)
from sseproxy.probe.facts import facts_of_chain, facts_of_stream
from sseproxy.probe.hops import Seen, other_signs
from sseproxy.probe.measured import Chain
from sseproxy.probe.stream import Stream
from sseproxy.probe.words import rows_of_chain, rows_of_stream


@frozen
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
            **({} if self.stream is None else facts_of_stream(self.stream)),
            "hops": [{"name": str(seen.hop), "shown_by": seen.shown_by} for seen in self.hops],
            "signs": list(self.signs),
            "chain": None if self.chain is None else facts_of_chain(self.chain),
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
        rows = [] if self.stream is None else rows_of_stream(self.stream)
        if self.chain is not None:
            rows += rows_of_chain(self.chain)
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


def _printable(line: str) -> str:
    """What a header field says could steer a terminal, and not every output takes more than ASCII."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in line)
