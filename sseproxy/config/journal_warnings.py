"""What of a journal that can be used will surprise, and which credentials leave with it?

Like `warnings`: each function adds to `Document.warnings`, or, where it is nothing to be changed, to `Document.notes`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.journal import JournalSection
from sseproxy.config.problems import Path
from sseproxy.config.values import format_duration
from sseproxy.core.journal.rules import JournalPolicy, Part, PartKind
from sseproxy.core.stream.dialects import Dialect

#: What answers at the URL of a run: DELETE stops it.
_OF_RUNS = frozenset(("GET", "HEAD", "DELETE"))

#: Fields of a request in which clients prove who they are.
_CREDENTIALS = ("Cookie", "Authorization")


def warn_of_journals(document: Document, routes: Sequence[EffectiveRoute]) -> None:
    """All that is to be said of the journals of these routes. They have passed all checks."""
    for route in routes:
        section = route.section.journal
        if section is not None:
            warnings = JournalWarnings(document, route, section, section.policy(route.name))
            warnings.of_services()
            warnings.of_shadows(routes)
            document.note(route.own("journal"), warnings.credentials())
            warnings.of_withdrawn_logins()


@dataclass(slots=True, eq=False)
class JournalWarnings:
    """What is said of one journal."""

    document: Document
    route: EffectiveRoute
    section: JournalSection
    policy: JournalPolicy

    def of_services(self) -> None:
        """Warn of a protocol that goes by the end of the connection, and of one without events."""
        match, dialect = self.route.section.match, self.route.merged.dialect
        if dialect is Dialect.OLLAMA:
            message = "the lines of Ollama's own API are not kept: only event streams are"
            self.document.warning(self.route.own("journal"), message, "leave it out")
        last = (match.path or match.prefix or "").rstrip("/").rpartition("/")[2]
        if last == "mcp" or dialect is Dialect.MCP:
            message = "with MCP, to close the stream is to cancel, and servers resume: here a call goes on, and is kept"
            self.document.warning(self.route.own("journal"), message, "leave it out")

    def of_shadows(self, routes: Sequence[EffectiveRoute]) -> None:
        """Warn of a path of runs that takes requests from a route which names them."""
        full = self.section.completed(self.route.name)
        taking = [(full.resume.path, _OF_RUNS, self._own("resume", "path"))]
        if full.stop is not None:
            taking.append((full.stop.path, frozenset(full.stop.methods), self._own("stop", "path")))
        for path, methods, at in taking:
            for other in routes:
                match = other.section.match
                taken = sorted(methods & set(match.methods) if match.methods else methods)
                meets = (
                    None in (match.host, self.route.section.match.host) or match.host == self.route.section.match.host
                )
                if path is not None and match.path is not None and path.takes(match.path) and taken and meets:
                    message = f"takes {listing(taken)} of {match.path} from routes[{other.index}]"
                    self.document.warning(at, message, "paths of runs are tried before all matches")

    def credentials(self) -> str:
        """Which credentials of clients the upstream of the route gets."""
        rules = self.route.section.headers.request
        changed = {name.lower() for name in (*rules.remove, *rules.set)}
        found = [name for name in dict.fromkeys(self.sent()) if name.partition(" ")[0].lower() not in changed]
        if not found:
            said = "no credentials of a client go upstream"
        elif self.policy.is_answer:
            said = f"each request takes its own {listing(found)} upstream"
        else:
            said = f"a feed takes {listing(found)} of the client that opens it upstream"
        return f"{said}, and headers.request.set adds {listing(list(rules.set))}" if rules.set else said

    def sent(self) -> Iterator[str]:
        """The fields of a client, or its cookies, in which it says who it is, and that go upstream."""
        auth = self.route.merged.auth
        if self.policy.is_answer:
            yield from _CREDENTIALS
            if auth is not None and auth.header not in _CREDENTIALS:
                yield auth.header
            return
        if not self.policy.login:
            return
        parts = dict.fromkeys((*self.policy.login, *self.policy.key))
        for part in parts:
            if part.kind is PartKind.HEADER:
                yield part.name
            elif part.kind is PartKind.COOKIE and not (auth and auth.strip_cookie and part.name == auth.cookie):
                yield f"Cookie {part.name}"
        if auth is not None and Part(PartKind.COOKIE, auth.cookie or "") in parts:
            yield auth.header

    def of_withdrawn_logins(self) -> None:
        """Say how long a login that holds no longer can read: of a resume, no upstream hears."""
        if not self.policy.login or self.route.section.authorize is not None:
            return
        age = format_duration(self.policy.keep.age)
        until = f"{age} after the end of an answer" if self.policy.is_answer else f"the feed is closed, and {age} more"
        message = f"one that is withdrawn can read until {until} (keep.age): no service is asked"
        self.document.note(self._own("login"), message, "authorize asks one before every read")

    def _own(self, *keys: str) -> Path:
        return self.route.own("journal", *keys)


def listing(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
