"""Which combinations of right values are impossible for a route whose streams are kept?

Like `checks`: what is wrong is added to `Document.problems`, and nothing is said about values that are wrong already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from sseproxy.config import files
from sseproxy.config.build import ticket_policy
from sseproxy.config.document import Document
from sseproxy.config.effective import EffectiveRoute
from sseproxy.config.journal import JournalSection, default_path
from sseproxy.config.journal_values import RunPath
from sseproxy.config.problems import Path
from sseproxy.config.route_checks import is_right
from sseproxy.config.schema import FileSchema
from sseproxy.config.values import format_size
from sseproxy.core.eventsource.policies import Reopen, TicketBinding
from sseproxy.core.http.fields import as_in_cgi
from sseproxy.core.journal.rules import Again, Part, PartKind
from sseproxy.core.stream.plan import StreamKind, StreamMode

_WORKERS: Path = ("server", "workers")
_FILE: Path = ("store", "file")
_MEMORY: Path = ("store", "memory")

#: Parts of a key that no segment of a path can stand in for: each has its own run, more than a segment, or the word of
#: a service for what clients must not be able to write themselves.
_NOT_IN_PATHS = {
    PartKind.RUN: "with key: run each request has a run of its own",
    PartKind.URL: "key: url is a whole URL",
    PartKind.AUTH: "a client could name what authorize says of another",
}


def check_journals(document: Document, file: FileSchema, routes: Sequence[EffectiveRoute], folder: FilePath) -> None:
    """The journals of all routes, and where they are kept. folder: where relative paths of the file begin."""
    journalled: list[JournalCheck] = []
    for route in routes:
        section = route.section.journal
        if section is None or route.own() in document.broken:
            continue
        check = JournalCheck(document, route, section)
        if route.section.redis is not None:
            hint = "Redis itself keeps the entries of its streams"
            document.problem(route.own("journal"), "cannot stand beside redis", hint, at_key=True)
            continue
        check.kind()
        check.streams()
        check.parts()
        check.key()
        check.login()
        check.tickets()
        check.paths(journalled, routes)
        check.memory(file.store.memory)
        journalled.append(check)
    if journalled and file.server.workers > 1 and not document.is_broken(_WORKERS):
        message = f"must be 1 with a journal (routes[{journalled[0].route.index}])"
        document.problem(_WORKERS, message, "runs live in one process, in its memory: each worker would have its own")
    if file.store.file is not None and not document.is_broken(_FILE):
        check_file(document, file, folder)


def check_file(document: Document, file: FileSchema, folder: FilePath) -> None:
    """Check that runs can be written into `store.file`."""
    if file.store.url is not None:
        document.problem(_FILE, "cannot stand beside url", "leave one of them out")
    wrong = files.unwritable(files.absolute(file.store.file or "", folder))
    if wrong:
        document.problem(_FILE, wrong)


@dataclass(slots=True, eq=False)
class JournalCheck:
    """What one route says of its journal."""

    document: Document
    route: EffectiveRoute
    section: JournalSection

    def kind(self) -> None:
        """Check that it is named, and nothing is said that has no effect on it."""
        section = self.section
        if section.kind is None:
            if self.is_right("kind"):
                self.document.problem(self.own("kind"), "is missing", "answer, or feed for what goes on for ever")
            return
        declared = self.route.merged.stream.kind
        if declared not in (StreamKind.AUTO, section.kind) and is_right(self.document, self.route, "stream", "kind"):
            line = self.document.line_of(self.route.where("stream", "kind"))
            message = f"is {section.kind}, but stream.kind{line} is {declared}"
            self.document.problem(self.own("kind"), message, "leave that out: the journal says it")
        if section.kind is StreamKind.ANSWER and section.reopen:
            message = "has no effect on an answer: it would be paid twice, and be another one"
            self.document.problem(self.own("reopen"), message, "off")
        if section.kind is StreamKind.FEED and section.stop is not None:
            message = "has no effect on a feed: no client can stop it for the others"
            self.document.problem(self.own("stop"), message, "leave it out", at_key=True)

    def streams(self) -> None:
        """Check that there are streams that can be kept."""
        if self.route.merged.stream.declared is StreamMode.NEVER and is_right(self.document, self.route, "stream"):
            hint = "leave one of them out"
            self.document.problem(self.own(), "has no effect with stream: never", hint, at_key=True)
        methods, at = self.route.section.match.methods, self.route.own("match", "methods")
        if not methods or self.document.is_broken(at):
            return
        if self.section.kind is StreamKind.FEED and "GET" not in methods:
            self.document.problem(at, "has no GET: no other request gets a feed of the journal", "add it")
        elif methods == ("HEAD",):
            self.document.problem(at, "has no method whose response could be kept", "such as GET or POST")

    def parts(self) -> None:
        """Check that no part is named twice, and `authorize` takes those that it should."""
        authorize = self.route.section.authorize
        takes: Mapping[str, str] = {} if authorize is None else authorize.take
        fields = {as_in_cgi(field.encode()): name for name, field in takes.items()}
        for key in ("key", "login"):
            seen: list[Part] = []
            for index, part in enumerate(getattr(self.section, key) or ()):
                at = self.document.shown((*self.own(key), index))
                if part in seen:
                    self.document.problem(at, f"{part} is named twice")
                elif part.kind is PartKind.AUTH and part.name not in takes:
                    hint = f"authorize: {{url: URL, take: {{{part.name}: X-User}}}}"
                    self.document.problem(at, f"{part} is not taken by authorize", hint)
                elif part.kind is PartKind.HEADER and (known := fields.get(as_in_cgi(part.name.encode()))):
                    message = f"{part} is never there: the client's own is removed"
                    self.document.problem(at, message, f"authorize takes that field: auth:{known}")
                seen.append(part)

    def tickets(self) -> None:
        """Check that nothing is said of tickets that does not hold for runs."""
        section = self.route.merged.tickets
        if section is None:
            return
        policy = ticket_policy(section)
        said = (
            ("bind", policy.bind is not TicketBinding.NONE, "journal.login says who may read"),
            ("reopen", policy.reopen is not Reopen.NEVER, "a run can be read again anyway"),
        )
        for name, is_said, hint in said:
            if is_said and is_right(self.document, self.route, "tickets", name):
                at = self.route.where("tickets", name)
                self.document.problem(at, "has no effect with a journal: a ticket is a run there", hint)

    def key(self) -> None:
        """Check that the key can name streams of this kind."""
        section, at = self.section, self.own("key")
        if section.key is None:
            if section.again is Again.JOIN and section.kind is StreamKind.ANSWER:
                self.joins_nothing()
            return
        if not section.key:
            self.document.problem(at, "must not be empty", "such as query:conversation")
        kinds = [part.kind for part in section.key]
        if PartKind.RUN in kinds:
            if len(kinds) > 1:
                message = "run stands alone: it is a name of its own for each request"
                self.document.problem(self.document.shown((*at, kinds.index(PartKind.RUN))), message)
            elif section.kind is StreamKind.FEED:
                message = "run would give each request a feed of its own"
                self.document.problem(at, message, "such as url, for one that all share who ask for it")
            elif section.again is Again.JOIN:
                self.joins_nothing()
        if PartKind.BODY in kinds and section.kind is StreamKind.FEED:
            here = self.document.shown((*at, kinds.index(PartKind.BODY)))
            self.document.problem(here, "a feed is asked for with GET, which has no body", "such as query:NAME")

    def joins_nothing(self) -> None:
        """Report that there is nothing to join."""
        message = "has no effect with key: run: each request has a run of its own"
        self.document.problem(self.own("again"), message, "name a key, such as header:Idempotency-Key")

    def login(self) -> None:
        """Check that it is said who may read."""
        section, at = self.section, self.own("login")
        if not self.is_right("login", "key", "kind") or section.kind is None or section.login:
            return
        is_answer = section.kind is StreamKind.ANSWER
        if is_answer and section.key in (None, (Part(PartKind.RUN),)):
            return
        if section.login is None:
            alternative = "or key: run" if is_answer else "or anyone"
            self.document.problem(at, "is missing: who may read?", f"such as cookie:session, {alternative}")
        elif is_answer:
            message = "cannot be anyone: who guesses the key of another would read the answer"
            self.document.problem(at, message, "such as cookie:session, or key: run")

    def paths(self, earlier: Sequence["JournalCheck"], routes: Sequence[EffectiveRoute]) -> None:
        """Check that the URLs of runs can be made of the key, and lead to no other route as well."""
        stop = self.section.stop
        if stop is not None and self.is_right("stop"):
            if stop.path is None:
                self.document.problem(self.own("stop", "path"), "is missing", "such as /runs/{run}/stop")
            if not stop.methods:
                self.document.problem(self.own("stop", "methods"), "must not be empty", "left out: POST")
        tickets: dict[str, int] = {}
        for route in routes:
            if route.merged.tickets is not None:
                tickets.setdefault(route.merged.tickets.path, route.index)
        own = list(self.run_paths())
        for index, (at, path) in enumerate(own):
            self.by_key(at, path)
            others = [(self, found) for _, found in own[:index]]
            others += [(other, found) for other in earlier if self.meets(other) for _, found in other.run_paths()]
            same = next((other for other, found in others if found.is_like(path)), None)
            if same is self:
                self.document.problem(at, "is the same as resume.path", "DELETE stops there, without stop")
            elif same is not None:
                line = self.document.line_of(same.own())
                message = f"{path} is a path of the journal of routes[{same.route.index}]{line}, too"
                self.document.problem(at, message, "each needs its own")
            below = next((found for found in tickets.items() if path.is_below(found[0])), None)
            if below is not None:
                message = f"{path} is below the path of the tickets of routes[{below[1]}], {below[0]}"
                self.document.problem(at, message, "each needs its own")

    def run_paths(self) -> Iterator[tuple[Path, RunPath]]:
        """The paths of its runs, each with where it is written."""
        if self.is_right("resume"):
            yield self.own("resume", "path"), self.section.resume.path or default_path(self.route.name)
        stop = self.section.stop
        if stop is not None and stop.path is not None:
            yield self.own("stop", "path"), stop.path

    def meets(self, other: "JournalCheck") -> bool:
        """True if some request may be for this route's host and for the `other`'s."""
        hosts = {check.route.section.match.host for check in (self, other)}
        are_known = not any(check.document.is_broken(check.route.own("match", "host")) for check in (self, other))
        return are_known and (len(hosts) == 1 or None in hosts)

    def by_key(self, at: Path, path: RunPath) -> None:
        """Check that a segment of the path can be the key, if it is to be."""
        section = self.section
        if not path.is_by_key or not self.is_right("key", "kind") or section.kind is None:
            return
        usual = PartKind.RUN if section.kind is StreamKind.ANSWER else PartKind.URL
        kinds = [usual] if section.key is None else [part.kind for part in section.key]
        if len(kinds) > 1:
            self.document.problem(at, f"{{key}} is for a key of one part, and this has {len(kinds)}", "use {run}")
        elif kinds and kinds[0] in _NOT_IN_PATHS:
            self.document.problem(at, f"cannot have {{key}}: {_NOT_IN_PATHS[kinds[0]]}", "use {run}")

    def memory(self, memory: int) -> None:
        """Check that the store has room for one run. memory: bytes of the store."""
        if self.section.kind is None or not self.is_right("keep", "kind") or self.document.is_broken(_MEMORY):
            return
        kept = self.section.completed(self.route.name).keep.bytes
        if kept is not None and kept > memory:
            if self.section.keep.bytes is not None:
                message = f"must be at most store.memory ({format_size(memory)})"
                self.document.problem(self.own("keep", "bytes"), message)
            else:
                message = f"must be at least {format_size(kept)}: journal.keep.bytes of routes[{self.route.index}]"
                self.document.problem(_MEMORY, message, "or name a smaller keep.bytes")

    def is_right(self, *keys: str) -> bool:
        """True if none of these keys has been found wrong."""
        return not any(self.document.is_broken(self.own(key)) for key in keys)

    def own(self, *keys: str) -> Path:
        return self.route.own("journal", *keys)
