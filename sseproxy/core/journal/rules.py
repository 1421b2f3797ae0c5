"""What does a route say about its journal? (docs/journal.md)"""

from dataclasses import field
from enum import StrEnum

from sseproxy.core.frozen import frozen
from sseproxy.core.http.paths import escaped
from sseproxy.core.journal.gap import GapPolicy
from sseproxy.core.journal.policy import Start
from sseproxy.core.limits import MIB
from sseproxy.core.stream.plan import StreamKind


class PartKind(StrEnum):
    """Where one part of a key or of a login comes from."""

    RUN = "run"  # each request is a stream of its own
    URL = "url"  # host, normalised path, query without a position
    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"
    BODY = "body"  # a member of a JSON body
    AUTH = "auth"  # the answer of `authorize`


@frozen
class Part:
    """One part of a key or of a login. name: of the parameter, field, cookie or member; empty for `run` and `url`."""

    kind: PartKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind.value


class Again(StrEnum):
    """What a request does whose key has a run under way."""

    NEW = "new"  # it starts another
    JOIN = "join"


class Ids(StrEnum):
    """Which clients get our ids."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Ended(StrEnum):
    """What a client gets that asks for a run which has ended."""

    REPLAY = "replay"
    NOTHING = "nothing"


class Detach(StrEnum):
    """How long a run goes on without a reader, where that is no number of seconds."""

    END = "end"  # until it ends
    OFF = "off"  # not at all


@frozen
class Keep:
    """What is kept of a run. age: seconds; from the end of an answer, of each event of a feed. bytes: of text."""

    events: int | None = None
    bytes: int = 16 * MIB
    age: float = 300.0


@frozen
class ResumePath:
    """The URL of a run. before, behind: what is around its one value in the path, which is `{run}` or `{key}`."""

    before: str
    behind: str = ""
    is_by_key: bool = False
    ended: Ended = Ended.REPLAY

    def url(self, value: bytes) -> bytes:
        """Return the path of the run that `value` names."""
        return self.before.encode() + escaped(value) + self.behind.encode()


@frozen
class StopPath:
    """A further URL that stops a run, by one of `methods`. before, behind, is_by_key: as those of a `ResumePath`."""

    before: str
    behind: str = ""
    is_by_key: bool = False
    methods: frozenset[str] = frozenset(("POST",))


@frozen
class JournalPolicy:
    """How the streams of a route are kept, and who may read them.

    kind: never `StreamKind.AUTO`. key: what names a stream; each part has to be there. login: who may read it; empty:
    anyone (a feed), or nothing but the name of the run is asked for (an answer with the key `run`).
    detach: seconds, or a word. reopen: attempts to reach a broken upstream again; only a feed has any.
    """

    kind: StreamKind
    key: tuple[Part, ...]
    login: tuple[Part, ...]
    again: Again
    start: Start
    detach: float | Detach
    keep: Keep
    resume: ResumePath
    ids: Ids = Ids.AUTO
    reopen: int = 0
    stop: StopPath | None = None
    gap: GapPolicy = field(default_factory=GapPolicy)

    @property
    def is_answer(self) -> bool:
        return self.kind is StreamKind.ANSWER

    @property
    def is_by_run(self) -> bool:
        """True if each request is a stream of its own, that only its name leads to."""
        return self.key == (Part(PartKind.RUN),)

    @property
    def joins(self) -> bool:
        """True if a request whose key has a run under way joins it."""
        return self.again is Again.JOIN

    @property
    def starts_latest(self) -> bool:
        """True if a reader without a position begins behind all that is kept."""
        return self.start is Start.LATEST

    @property
    def members(self) -> tuple[str, ...]:
        """The members of a JSON body that are parts of the key."""
        return tuple(part.name for part in self.key if part.kind is PartKind.BODY)
