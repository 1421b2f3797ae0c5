"""Which keys say that the streams of a route are kept, for whom, and for how long? (docs/journal.md)

Most defaults follow from the kind of stream. So what is left out is ``None`` here, and `JournalSection.completed` fills
it in.
"""

from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from sseproxy.config import journal_values, values
from sseproxy.config.authorize import nothing_is_a_section
from sseproxy.config.fields import VARIABLE, CountOrOff, LimitedDuration, Size, listed, one_or_several, words
from sseproxy.config.journal_values import RunPath
from sseproxy.config.push import GapSection, StartWord
from sseproxy.config.sections import Scalar, Section
from sseproxy.core.journal.gap import GapPolicy
from sseproxy.core.journal.policy import Start
from sseproxy.core.journal.rules import (
    Again,
    Detach,
    Ended,
    Ids,
    JournalPolicy,
    Keep,
    Part,
    PartKind,
    ResumePath,
    StopPath,
)
from sseproxy.core.limits import MIB
from sseproxy.core.stream.plan import StreamKind


def _parts(pattern: str, alone: str) -> WithJsonSchema:
    """One part or a list of them, for editors. alone: what stands beside no other."""
    one = {"anyOf": [{"type": "string", "pattern": pattern}, VARIABLE]}
    return WithJsonSchema({"anyOf": [{"const": alone}, *one["anyOf"], {"type": "array", "items": one, "minItems": 1}]})


JournalKind = Annotated[
    StreamKind,
    Scalar(journal_values.kind, {"anyOf": [{"type": "string", "enum": ["answer", "feed"]}, VARIABLE]}, write=str),
]
Key = Annotated[
    tuple[Annotated[Part, Scalar(journal_values.key_part, {}, write=str)], ...],
    BeforeValidator(listed),
    _parts(r"^(url$|(query|header|cookie|body|auth):.)", alone="run"),
]
Login = Annotated[
    tuple[Annotated[Part, Scalar(journal_values.login_part, {}, write=str)], ...],
    BeforeValidator(journal_values.listed_logins),
    _parts(r"^(header|cookie|auth):.", alone=journal_values.ANYONE),
]
AgainWord = Annotated[Again, Scalar(partial(values.choice, kind=Again), words(Again), write=str)]
IdsWord = Annotated[Ids, Scalar(partial(values.choice, kind=Ids), words(Ids), write=str)]
EndedWord = Annotated[Ended, Scalar(partial(values.choice, kind=Ended), words(Ended), write=str)]
DetachValue = Annotated[
    float | Detach,
    Scalar(
        journal_values.detach,
        {
            "anyOf": [
                {"const": "end"},
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^(off|\d+(\.\d+)?(ms|s|m|h)?)$"},
                VARIABLE,
            ]
        },
        write=journal_values.format_detach,
    ),
]
Attempts = Annotated[
    int,
    Scalar(
        journal_values.attempts,
        {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "off"}, VARIABLE]},
        write=lambda count: count or "off",
    ),
]
RunPathText = Annotated[
    RunPath,
    Scalar(journal_values.run_path, {"type": "string", "pattern": r"^/(.*/)?\{(run|key)\}(/.*)?$"}, write=str),
]
StoppingMethod = Annotated[str, Scalar(journal_values.stopping_method, {"type": "string"})]
Methods = Annotated[tuple[StoppingMethod, ...], BeforeValidator(listed), one_or_several]


def _by_kind(description: str) -> Any:
    """A key whose default follows from the kind of stream: editors hear of none."""
    return Field(default=None, description=description, json_schema_extra={"default": None})


class KeepSection(Section):
    """How much of a run is kept, and for how long."""

    events: CountOrOff = _by_kind("Events; off: no limit. Left out: off for an answer, 1000 for a feed.")
    bytes: Size | None = _by_kind("Bytes of their text. Left out: 16MiB for an answer, 4MiB for a feed.")
    age: LimitedDuration | None = _by_kind(
        "Counts from the end of an answer, and for each event of a feed. Left out: 5m for an answer, 10m for a feed."
    )


class ResumeSection(Section):
    """The URL under which a run can be read, and with DELETE be stopped."""

    path: RunPathText | None = Field(
        default=None,
        description="A path with one segment {run}, the name of a run, or {key}: the newest run of that key. "
        "Left out: /_runs/ROUTE/{run}.",
    )
    ended: EndedWord | None = Field(
        default=None,
        description="What a GET gets when the run has ended: replay (all that is kept), or nothing (204); "
        "left out: nothing with {key}, else replay.",
    )


class StopSection(Section):
    """A further URL that stops a run."""

    model_config = ConfigDict(json_schema_extra={"required": ["path"]})

    path: RunPathText | None = Field(default=None, description="Like resume.path; required.")
    methods: Methods = Field(default=("POST",), description="The methods that stop; GET, HEAD and OPTIONS cannot.")


class JournalSection(Section):
    """The streams of the route are kept outside the connection: to be resumed, shared, and stopped on purpose."""

    model_config = ConfigDict(json_schema_extra={"required": ["kind"]})

    kind: JournalKind | None = Field(
        default=None, description="What the streams are: answer (it ends) or feed (it goes on for ever); required."
    )
    key: Key | None = _by_kind(
        "What names a stream: run (each request its own), url (host, path and query), query:NAME, "
        "header:NAME, cookie:NAME, body:FIELD (of a JSON body), auth:NAME (of authorize); a list joins several. "
        "Left out: run for an answer, url for a feed.",
    )
    login: Login | None = Field(
        default=None,
        description="What says who may read: header:NAME, cookie:NAME, auth:NAME, a list joins several; or anyone "
        "(a feed). Required, unless key is run.",
    )
    again: AgainWord | None = _by_kind(
        "A request whose key has a run under way: new (it starts another) or join. Left out: new for an answer, join "
        "for a feed."
    )
    start: StartWord | None = _by_kind(
        "Where a reader without a position begins: oldest or latest. Left out: oldest for an answer, latest for a feed."
    )
    detach: DetachValue | None = _by_kind(
        "How long a run goes on without any reader: a duration, end (until it ends) or off (not at all). "
        "Then an answer is stopped, and a feed sleeps until the next reader. Left out: end for an answer, 30s for a "
        "feed.",
    )
    keep: KeepSection = Field(
        default=KeepSection.model_construct(),
        description="How much of a run is kept, and for how long.",
        json_schema_extra={"default": dict.fromkeys(KeepSection.model_fields)},
    )
    ids: IdsWord = Field(
        default=Ids.AUTO,
        description="Which clients get ids of sseproxy in events that have none: auto (those that take them), always, "
        "never.",
    )
    reopen: Attempts | None = _by_kind(
        "How often a broken upstream is asked again, or off. Left out: 3 for a feed; for an answer it is always off."
    )
    resume: ResumeSection = Field(
        default=ResumeSection.model_construct(),
        description="The URL under which a run can be read, and with DELETE be stopped.",
    )
    stop: StopSection | None = Field(default=None, description="A further URL that stops a run; left out: none.")
    gap: GapSection = Field(
        default=GapSection.model_construct(), description="What a client gets where events are missing."
    )

    def completed(self, route: str) -> "JournalSection":
        """This section with all that follows from its kind. route: the name of its route.

        Raises `ValueError` for a section that has not passed the checks.
        """
        if self.kind is None:
            raise ValueError("a journal without kind has passed the checks")
        defaults: dict[str, Any] = _OF_ANSWERS if self.kind is StreamKind.ANSWER else _OF_FEEDS
        path = self.resume.path or default_path(route)
        ended = self.resume.ended or (Ended.NOTHING if path.is_by_key else Ended.REPLAY)
        keep = defaults["keep"]
        update = {name: default for name, default in defaults.items() if getattr(self, name) is None}
        update["keep"] = KeepSection.model_construct(
            events=self.keep.events if "events" in self.keep.model_fields_set else keep.events,
            bytes=self.keep.bytes or keep.bytes,
            age=self.keep.age or keep.age,
        )
        update["resume"] = ResumeSection.model_construct(path=path, ended=ended)
        return self.model_copy(update=update)

    def written(self, route: str) -> dict[str, Any]:
        """What a file says that means the same. route: as for `completed`."""
        found = self.completed(route).model_dump(mode="json")
        if found["keep"]["events"] is None:
            found["keep"]["events"] = "off"
        return {**found, "login": found["login"] or journal_values.ANYONE}

    def policy(self, route: str) -> JournalPolicy:
        """What the proxy goes by; as for `completed`."""
        full: Any = self.completed(route)
        path, stop = full.resume.path, full.stop
        return JournalPolicy(
            kind=full.kind,
            key=full.key,
            login=full.login,
            again=full.again,
            start=full.start,
            detach=full.detach,
            keep=Keep(full.keep.events, full.keep.bytes, full.keep.age),
            resume=ResumePath(path.before, path.behind, path.is_by_key, full.resume.ended),
            ids=full.ids,
            reopen=full.reopen,
            stop=None
            if stop is None
            else StopPath(stop.path.before, stop.path.behind, stop.path.is_by_key, frozenset(stop.methods)),
            gap=GapPolicy(full.gap.event.name),
        )


#: What holds where a journal does not say it.
_OF_ANSWERS = {
    "key": (Part(PartKind.RUN),),
    "login": (),
    "again": Again.NEW,
    "start": Start.OLDEST,
    "detach": Detach.END,
    "keep": Keep(),
    "reopen": 0,
}
_OF_FEEDS = {
    "key": (Part(PartKind.URL),),
    "login": (),
    "again": Again.JOIN,
    "start": Start.LATEST,
    "detach": 30.0,
    "keep": Keep(events=1000, bytes=4 * MIB, age=600.0),
    "reopen": 3,
}


def default_path(route: str) -> RunPath:
    """Where the runs of a route are that names no other place. A name has no character that a path would encode."""
    return RunPath(f"/_runs/{route}/", "", is_by_key=False)


Journal = Annotated[JournalSection | None, BeforeValidator(nothing_is_a_section)]
