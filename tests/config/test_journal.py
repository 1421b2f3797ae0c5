"""What becomes of the keys of a journal, and what is said of one that can be used?"""

from pathlib import Path

import pytest

from sseproxy.config.journal_values import detach, format_detach, run_path
from sseproxy.config.loader import check
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
from sseproxy.core.limits import KIB, MIB
from sseproxy.core.stream.plan import StreamKind
from tests.config.reading import read

#: Nothing else is said of these routes.
CONFIRMED = "defaults: {dialect: auto, timeouts: {response: 15m, idle: auto}}\n"

ANSWER = JournalPolicy(
    kind=StreamKind.ANSWER,
    key=(Part(PartKind.RUN),),
    login=(),
    again=Again.NEW,
    start=Start.OLDEST,
    detach=Detach.END,
    keep=Keep(None, 16 * MIB, 300.0),
    resume=ResumePath("/_runs/route-1/"),
    reopen=0,
)
FEED = JournalPolicy(
    kind=StreamKind.FEED,
    key=(Part(PartKind.URL),),
    login=(),
    again=Again.JOIN,
    start=Start.LATEST,
    detach=30.0,
    keep=Keep(1000, 4 * MIB, 600.0),
    resume=ResumePath("/_runs/route-1/"),
    reopen=3,
)


def policy_of(journal: str, folder: Path, rest: str = "") -> JournalPolicy:
    policy = read(f"routes: [{{upstream: 'http://u:1', journal: {{{journal}}}{rest}}}]", folder).routes[0].journal
    assert policy is not None
    return policy


@pytest.mark.parametrize(
    ("journal", "policy"),
    [("kind: answer", ANSWER), ("kind: feed, login: anyone", FEED)],
    ids=["answer", "feed"],
)
def test_what_is_left_out_follows_from_the_kind(journal: str, policy: JournalPolicy, folder: Path) -> None:
    assert policy_of(journal, folder) == policy


def test_all_keys(folder: Path) -> None:
    text = """\
store: {memory: 8MiB, file: runs}
defaults: {limits: {detached: 7}}
routes:
  - match: {path: /chat}
    upstream: http://u:1
    limits: {detached_per_client: off, event: 2KiB}
    journal:
      kind: answer
      key: "body:id"
      login: [cookie:session, 'header:X-Team']
      again: join
      start: latest
      detach: 1m
      keep: {events: 5, bytes: 1KiB, age: 2s}
      ids: never
      reopen: off
      resume: {path: "/chat/{key}/stream", ended: replay}
      stop: {path: "/chat/{key}/stop", methods: [put, DELETE]}
      gap: {event: {name: lost}}
"""
    config = read(text, folder)
    (route,) = config.routes
    assert route.journal == JournalPolicy(
        kind=StreamKind.ANSWER,
        key=(Part(PartKind.BODY, "id"),),
        login=(Part(PartKind.COOKIE, "session"), Part(PartKind.HEADER, "X-Team")),
        again=Again.JOIN,
        start=Start.LATEST,
        detach=60.0,
        keep=Keep(5, KIB, 2.0),
        resume=ResumePath("/chat/", "/stream", is_by_key=True, ended=Ended.REPLAY),
        ids=Ids.NEVER,
        stop=StopPath("/chat/", "/stop", is_by_key=True, methods=frozenset(("PUT", "DELETE"))),
        gap=GapPolicy("lost"),
    )
    assert (route.limits.detached, route.limits.detached_per_client, route.limits.event) == (7, None, 2 * KIB)
    assert config.store.file == str(folder / "runs")


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("url", [Part(PartKind.URL)]),
        (
            "[url, 'cookie:a', 'header:X-A']",
            [Part(PartKind.URL), Part(PartKind.COOKIE, "a"), Part(PartKind.HEADER, "X-A")],
        ),
        ("'query:a:b'", [Part(PartKind.QUERY, "a:b")]),
        ("'auth:user'", [Part(PartKind.AUTH, "user")]),
    ],
)
def test_a_key_is_a_word_or_a_list(key: str, parts: list[Part], folder: Path) -> None:
    authorize = ", authorize: {url: 'http://w:1', take: {user: X-User}}"
    assert policy_of(f"kind: feed, login: anyone, key: {key}", folder, authorize).key == tuple(parts)


def test_a_part_of_a_key_is_named_by_a_variable(folder: Path) -> None:
    text = "routes: [{upstream: 'http://u:1', journal: {kind: '${KIND}', key: '${KEY}', login: '${LOGIN}'}}]"
    environ = {"KIND": "feed", "KEY": "query:room", "LOGIN": "anyone"}
    policy = read(text, folder, environ=environ).routes[0].journal
    assert policy is not None
    assert (policy.kind, policy.key, policy.login) == (StreamKind.FEED, (Part(PartKind.QUERY, "room"),), ())


@pytest.mark.parametrize(
    ("journal", "keep"),
    [
        ("kind: feed, login: anyone, keep: {events: off}", Keep(None, 4 * MIB, 600.0)),
        ("kind: feed, login: anyone, keep: {age: 1s}", Keep(1000, 4 * MIB, 1.0)),
        ("kind: answer, keep: {events: 3}", Keep(3, 16 * MIB, 300.0)),
    ],
)
def test_a_part_of_keep_leaves_the_rest(journal: str, keep: Keep, folder: Path) -> None:
    assert policy_of(journal, folder).keep == keep


def test_a_run_of_a_key_is_replayed_only_if_that_is_said(folder: Path) -> None:
    by_key = "kind: answer, key: 'query:a', login: 'cookie:a', resume: {path: '/a/{key}'}"
    assert policy_of(by_key, folder).resume == ResumePath("/a/", is_by_key=True, ended=Ended.NOTHING)
    assert policy_of("kind: answer, resume: {path: '/a/{run}/b'}", folder).resume == ResumePath("/a/", "/b")


def test_the_route_says_where_its_runs_are(folder: Path) -> None:
    assert policy_of("kind: answer", folder, ", name: 'a.b:c'").resume.before == "/_runs/a.b:c/"


def test_an_answer_without_a_key_may_have_a_login_or_none(folder: Path) -> None:
    assert policy_of("kind: answer, login: 'cookie:a'", folder).login == (Part(PartKind.COOKIE, "a"),)
    assert policy_of("kind: answer, login: anyone", folder) == ANSWER


def test_the_journal_says_what_streams_a_route_has(folder: Path) -> None:
    route = read("routes: [{upstream: 'http://u:1', journal: {kind: feed, login: anyone}}]", folder).routes[0]
    assert route.kind is StreamKind.FEED


@pytest.mark.parametrize("written", ["end", "off", "30s", "1500ms"])
def test_detach_is_written_as_it_is_read(written: str) -> None:
    assert format_detach(detach(written)) == written


@pytest.mark.parametrize(
    ("path", "taken", "left"),
    [
        ("/a/{run}", ["/a/b", "/a/new"], ["/a", "/a/", "/a/b/c", "/b/c"]),
        ("/{key}/stop", ["/a/stop"], ["//stop", "/a/stop/", "/a/stops"]),
    ],
)
def test_which_paths_a_run_takes(path: str, taken: list[str], left: list[str]) -> None:
    found = run_path(path)
    assert str(found) == path
    assert [other for other in (*taken, *left) if found.takes(other)] == taken


# What is said of a journal that can be used.

FROM = "from routes[{}] (paths of runs are tried before all matches)"
WITHDRAWN = "(keep.age): no service is asked (authorize asks one before every read)"


def said_of(route: str, folder: Path) -> list[str]:
    """All warnings and notes on a route, without their places."""
    file = folder / "c.yaml"
    file.write_text(f"{CONFIRMED}routes: [{{upstream: 'http://u:1', {route}}}]")
    document = check(file, flags={}, environ={}).document
    return [str(said).partition("routes[0].")[2] for said in (*document.warnings, *document.notes)]


@pytest.mark.parametrize(
    ("route", "credentials"),
    [
        ("journal: {kind: answer}", "each request takes its own Cookie and Authorization upstream"),
        (
            "auth: {cookie: a, header: X-Auth}, journal: {kind: answer}, headers: {request: {remove: [cookie]}}",
            "each request takes its own Authorization and X-Auth upstream",
        ),
        (
            "journal: {kind: answer}, headers: {request: {remove: [Cookie], set: {authorization: Bearer t, X-A: b}}}",
            "no credentials of a client go upstream, and headers.request.set adds authorization and X-A",
        ),
        (
            "journal: {kind: feed, login: anyone, key: 'cookie:room'}, auth: {cookie: a}",
            "no credentials of a client go upstream",
        ),
    ],
)
def test_which_credentials_go_upstream(route: str, credentials: str, folder: Path) -> None:
    assert said_of(route, folder) == [f"journal: note: {credentials}"]


def test_a_feed_takes_what_its_login_and_key_name(folder: Path) -> None:
    route = (
        "auth: {cookie: a}, authorize: {url: 'http://w:1', take: {user: X-User}},"
        "journal: {kind: feed, login: ['auth:user', 'cookie:a', 'header:X-Team'], key: [url, 'cookie:b', 'query:c']}"
    )
    names = "X-Team, Cookie b and Authorization"
    found = said_of(route, folder)
    assert found == [f"journal: note: a feed takes {names} of the client that opens it upstream"]
    # That cookie goes on if `auth` leaves it where it is.
    found = said_of(route.replace("cookie: a}", "cookie: a, strip_cookie: false}"), folder)
    assert "Cookie a, X-Team, Cookie b and Authorization of" in found[0]


@pytest.mark.parametrize(
    ("journal", "until"),
    [
        ("kind: answer, login: 'cookie:a', keep: {age: 90s}", "90s after the end of an answer"),
        ("kind: feed, login: 'cookie:a'", "the feed is closed, and 10m more"),
    ],
    ids=["answer", "feed"],
)
def test_how_long_a_withdrawn_login_can_read(journal: str, until: str, folder: Path) -> None:
    said = f"journal.login: note: one that is withdrawn can read until {until} {WITHDRAWN}"
    assert said in said_of(f"journal: {{{journal}}}", folder)
    assert len(said_of(f"journal: {{{journal}}}, authorize: {{url: 'http://w:1'}}", folder)) == 1


@pytest.mark.parametrize("match", ["match: {path: /v1/mcp}", "match: {prefix: /mcp}", "dialect: mcp"])
def test_a_journal_of_mcp_is_warned_of(match: str, folder: Path) -> None:
    found = said_of(f"{match}, journal: {{kind: answer}}", folder)
    assert found[0] == (
        "journal: warning: with MCP, to close the stream is to cancel, and servers resume: "
        "here a call goes on, and is kept (leave it out)"
    )
    assert len(said_of("match: {path: /mcp/x}, journal: {kind: answer}", folder)) == 1


def test_a_journal_of_lines_is_warned_of(folder: Path) -> None:
    found = said_of("dialect: ollama, journal: {kind: answer}", folder)
    said = "the lines of Ollama's own API are not kept: only event streams are (leave it out)"
    assert found[0] == f"journal: warning: {said}"


def test_a_path_of_runs_that_takes_what_a_route_names_is_warned_of(folder: Path) -> None:
    text = f"""\
{CONFIRMED}routes:
  - match: {{path: /chat, host: a.example}}
    upstream: http://u:1
    journal: {{kind: answer, resume: {{path: '/chat/{{run}}'}}, stop: {{path: '/chat/{{run}}/stop'}}}}
  - {{match: {{path: /chat/a}}, upstream: 'http://u:1'}}
  - {{match: {{path: /chat/old, methods: [POST]}}, upstream: 'http://u:1'}}
  - {{match: {{path: /chat/one, host: b.example}}, upstream: 'http://u:1'}}
  - {{match: {{path: /chat/all/stop, methods: [POST, PUT]}}, upstream: 'http://u:1'}}
"""
    assert [str(warning) for warning in read(text, folder).warnings] == [
        f"c.yaml:5:44: routes[0].journal.resume.path: warning: takes DELETE, GET and HEAD of /chat/a {FROM.format(1)}",
        f"c.yaml:5:73: routes[0].journal.stop.path: warning: takes POST of /chat/all/stop {FROM.format(4)}",
    ]


def test_tickets_of_a_journal_are_bound_by_its_login(folder: Path) -> None:
    route = "auth: {cookie: sid}, tickets: {}, journal: {kind: answer"
    unbound = "who learns the URL of a ticket gets an answer in the name of the user who is logged in"
    assert said_of(f"{route}}}", folder)[0] == f"journal.login: warning: with auth: {unbound} (login: cookie:sid)"
    assert [said for said in said_of(f"{route}, login: 'cookie:sid'}}", folder) if "warning" in said] == []


def test_a_file_that_nothing_is_written_to_is_warned_of(folder: Path) -> None:
    text = f"{CONFIRMED}store: {{file: runs}}\nroutes: [{{upstream: 'http://u:1'}}]"
    assert [str(warning) for warning in read(text, folder).warnings] == [
        "c.yaml:2:15: store.file: warning: no route has a journal (leave it out)"
    ]
