"""Does the JSON Schema say what the loader does, and are the files that people copy right and complete?"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from sseproxy.config.document import Document
from sseproxy.config.flags import OVERRIDES
from sseproxy.config.loader import load
from sseproxy.config.problems import write_path
from sseproxy.config.push import StoreSection
from sseproxy.config.reading import read_document
from sseproxy.config.schema import (
    FileSchema,
    InheritedSection,
    LogSection,
    ServerSection,
    json_schema,
    section_in,
)
from sseproxy.config.sections import Section

HERE = Path(__file__).parents[2]
SMALL, FULL = HERE / "config/sseproxy.yaml", HERE / "config/sseproxy.full.yaml"
MANUAL = HERE / "docs/configuration.md"
DOCUMENTS = [
    document
    for document in (HERE / "README.md", *sorted((HERE / "docs").glob("*.md")))
    if re.search(r"(?m)^routes:", document.read_text(encoding="utf-8"))
]
FILES = [SMALL, FULL, *sorted(HERE.glob("nginx/*.yaml")), *sorted(HERE.glob("examples/*/sseproxy.yaml"))]
SCHEMA = json_schema()


def keys(section: type[Section] = FileSchema, above: str = "") -> Iterator[tuple[str, str | None]]:
    """All keys of the file without list positions, and what their descriptions say."""
    for name, info in section.model_fields.items():
        yield above + name, info.description
        inner = section_in(info.annotation)
        if inner is not None:
            yield from keys(inner, f"{above}{name}.")


def is_of_its_own(path: str) -> bool:
    """Whether a key is more than what a route may repeat of ``defaults``."""
    return path.removeprefix("routes.").split(".")[0] not in InheritedSection.model_fields


def full_document(folder: Path) -> Document:
    """The full file, with the keys that stand in comments."""
    names = "|".join({path.rpartition(".")[2] for path, _ in keys()})
    text = re.sub(rf"(?m)^(\s*)# (\s*(?:{names}):)(?= |$)", r"\1\2", FULL.read_text(encoding="utf-8"))
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    return read_document(folder / "c.yaml", {})


def accepts(text: str, folder: Path) -> bool:
    """Whether an editor would accept a file; it sees references where the loader sees what they stand for."""
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    document = read_document(folder / "c.yaml", {"N": "${N}"})
    assert not document.problems
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(document.data)


def test_every_key_is_described() -> None:
    assert [path for path, description in keys() if not description] == []


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HERE)))
def test_the_files_that_people_copy_are_right(file: Path) -> None:
    config = load(file, flags={}, environ={})
    assert config.routes
    assert config.warnings == ()
    jsonschema.validate(read_document(file, {}).data, SCHEMA)


def test_the_full_file_has_every_key_and_no_other(tmp_path: Path) -> None:
    document = full_document(tmp_path)
    assert document.problems == []
    named = {write_path(tuple(part for part in path if isinstance(part, str))) for path in document.places}
    assert [path for path, _ in keys() if is_of_its_own(path) and path not in named] == []
    jsonschema.validate(document.data, SCHEMA)


def test_the_full_file_says_the_defaults() -> None:
    file = FileSchema.model_validate(read_document(FULL, {}).data)
    assert file.server == ServerSection()
    assert file.log == LogSection()
    assert file.defaults == InheritedSection()
    assert file.store == StoreSection()


def test_the_manual_has_every_flag_and_variable() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    wanted = [word for override in OVERRIDES for word in (override.flag, override.variable)]
    assert [word for word in wanted if f"`{word}" not in text] == []


def test_the_guides_have_examples() -> None:
    assert {document.name for document in DOCUMENTS} >= {"README.md", "configuration.md", "recipes.md", "gateways.md"}


def configurations(text: str) -> list[str]:
    """The YAML of a document that is a whole configuration, and not a part of one or another program's."""
    return [block for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", text) if re.search(r"(?m)^routes:", block)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_examples_of_the_documents_are_right_and_warn_of_nothing(
    document: Path, tmp_path: Path, pem_files: dict[str, bytes]
) -> None:
    examples = configurations(document.read_text(encoding="utf-8"))
    assert examples
    for example in examples:
        for name in re.findall(r"\b\w+\.(?:pem|key)\b", example):
            (tmp_path / name).write_bytes(pem_files[f"ca.{name.rpartition('.')[2]}"])
        example = example.replace("/var/lib/sseproxy/", f"{tmp_path}/")  # a folder that is there
        (tmp_path / "c.yaml").write_text(example, encoding="utf-8")
        config = load(tmp_path / "c.yaml", flags={}, environ={"API_TOKEN": "t"})
        assert config.routes
        assert [str(warning) for warning in config.warnings] == []


@pytest.mark.parametrize(
    "text",
    [
        "routes: [{upstream: 'http://u'}]",
        "server:\nadmin:\ndefaults:\n  heartbeat:\nroutes: [{upstream: 'http+unix:///run/x.sock', match: }]",
        "server: {listen: ['[::1]:80', ':80', 'unix:/x'], workers: '${N}', drain: {spread: 0, timeout: off}}",
        "server: {listen: {unix: /x, mode: '0660', group: 7, trust: false}}\nadmin: {listen: {unix: /y}}",
        "server: {listen: ['127.0.0.1:1', {unix: /x, trust: '${N}'}]}",
        "defaults: {timeouts: {idle: 15, connect: 1.5, write: 1.5s, response: 500ms, request_body: 1m}}",
        "defaults: {timeouts: {idle: auto, max_duration: off}, stream: {declared: {query: stream}, kind: feed}}",
        "defaults: {stream: {declared: {json: mode, equals: streaming}}, end: {marker: {event: x}, only: marker}}",
        "defaults: {timeouts: {idle: '15', write: '${N}'}, stream: '${N:-auto}', heartbeat: {prelude: '${N}'}}",
        "defaults: {limits: {streams: off, streams_per_client: 5, line: 65536, request_body: 1GiB}}",
        "store: {secret: 'sixteen characters', memory: 64MiB}\nroutes: [{upstream: 'http://u'}]",
        "store: {url: 'redis://127.0.0.1', prefix: a, timeout: 500ms}\nroutes: [{redis: {stream: a}}]",
        "routes: [{redis: {url: '${N}', stream: ['a:{auth:user}', b], start: oldest, gap: {event: {name: x}}}}]",
        "routes: [{redis: {url: 'REDISS://h', channel: '${N}', format: flask-sse, unsafe_identity: true}}]",
        "routes: [{redis: {url: 'redis+sentinel://h,i/n', channel: [a]}, limits: {event: 1KiB}}]",
        "store:\nroutes: [{upstream: 'http://u'}]",
        "store: {file: /x}\nroutes: [{upstream: 'http://u', journal: {kind: answer}}]",
        "defaults: {limits: {detached: off, detached_per_client: 3, event: 1MiB}}",
        "routes: [{upstream: 'http://u', journal: {kind: answer, key: run, detach: 5, reopen: off, ids: always}}]",
        "routes: [{upstream: 'http://u', journal: {kind: '${N}', key: '${N}', login: ['${N}'], detach: '${N}'}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, key: [url, 'query:a'], login: anyone, detach: end}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, keep: {events: off, bytes: 1MiB, age: 5}, reopen: 5}}]",
        "routes: [{upstream: 'http://u', journal: {kind: answer, key: 'body:a', resume: {path: '/a/{key}/b'}}}]",
        "routes: [{upstream: 'http://u', journal: {kind: answer, stop: {path: '/{run}/b', methods: PUT}, gap: }}]",
        "routes: [{upstream: '${N}', headers: {request: {set: {X-A: b}, remove: [Cookie]}}}]",
        "store: memory\ndefaults: {tickets: {}, auth: {cookie: a}, end: {event: {}}, cors: {origins: '*'}}",
        "routes: [{upstream: 'http://u', tickets: '${N:-off}', auth: off, end: {event: off, marker: x}, cors: }]",
        "defaults: {tickets: {ttl: 5, max_body: 1KiB, bind: 'cookie:sid', reopen: always}, end: {secret: '${N}'}}",
        "routes: [{upstream: 'http://u', authorize: {url: '${N}', take: {user: X-User}, cache: 5s, timeout: '${N}'}}]",
        "routes: [{upstream: 'http://u', authorize: {url: 'http+unix://%2Fx/y?z', take: {}, cache: off, timeout: 1}}]",
        "defaults: {auth: {cookie: a, format: '{value}'}, cors: {origins: [https://a.b, 'null'], credentials: true}}",
    ],
)
def test_editors_accept_what_the_loader_accepts(text: str, tmp_path: Path) -> None:
    assert accepts(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "srever: {}",
        "routes: [{}]",
        "routes: [{upstream: 9000}]",
        "routes: {upstream: 'http://u'}",
        "admin: {}",
        "server: {tls: {key: a}}",
        "server: {workers: 0}",
        "server: {listen: {mode: '0660'}}",
        "server: {listen: [{unix: /x, owner: root}]}",
        "server: {listen: {unix: /x, mode: 660}}",
        "server: {workers: true}",
        "log: {access: on}",
        "log: {level: warn}",
        "defaults: {timeouts: {idle: 0}}",
        "defaults: {timeouts: {idle: 5 minutes}}",
        "defaults: {timeouts: {idle: }}",
        "defaults: {limits: {line: off}}",
        "defaults: {heartbeat: {event: {name: ''}}}",
        "store: redis",
        "store: {url: 'http://127.0.0.1'}",
        "store: {prefix: 'a b'}",
        "store: {timeout: off}",
        "store: {lease: 10s}",
        "store: {file: 7}",
        "server: {drain: {runs: 25s}}",
        "routes: [{redis: {format: text}}]",
        "routes: [{redis: {stream: a}, upstream: 'http://u'}]",
        "routes: [{redis: {stream: a, format: xml}}]",
        "routes: [{redis: {stream: a, start: newest}}]",
        "routes: [{redis: {stream: []}}]",
        "routes: [{redis: {stream: a, key: url}}]",
        "routes: [{upstream: 'http://u', journal: {}}]",
        "routes: [{upstream: 'http://u', journal: feed}]",
        "routes: [{upstream: 'http://u', journal: {kind: auto}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, key: [run, url]}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, key: path}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, key: 'query:'}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, key: []}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, login: []}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, login: 'query:user'}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, login: [anyone, 'cookie:a']}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, detach: never}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, detach: 0}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, reopen: 0}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, keep: {age: off}}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, resume: {path: /runs}}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, resume: {path: '/runs/{id}'}}}]",
        "routes: [{upstream: 'http://u', journal: {kind: feed, without_store: refuse}}]",
        "routes: [{upstream: 'http://u', journal: {kind: answer, stop: {methods: POST}}}]",
        "routes: [{upstream: 'http://u', match: {path: '/a{b}'}}]",
        "defaults: {tickets: {path: '/a`b'}}",
        "defaults: {tickets: on}",
        "defaults: {tickets: {ttl: off}}",
        "defaults: {tickets: {bind: cookie}}",
        "defaults: {end: {event: {name: ''}}}",
        "defaults: {end: {event: 'yes'}}",
        "defaults: {auth: {cookie: a, format: Bearer}}",
        "defaults: {cors: {origins: app.example}}",
        "defaults: {authorize: {url: 'http://u'}}",
        "routes: [{upstream: 'http://u', authorize: off}]",
        "routes: [{upstream: 'http://u', authorize: {}}]",
        "routes: [{upstream: 'http://u', authorize: {url: /whoami}}]",
        "routes: [{upstream: 'http://u', authorize: {url: 'http://u', timeout: off}}]",
        "routes: [{upstream: 'http://u', authorize: {url: 'http://u', take: [X-User]}}]",
        "defaults: {cors: {origins: ['https://app.example/']}}",
    ],
)
def test_editors_refuse_what_the_loader_refuses(text: str, tmp_path: Path) -> None:
    assert not accepts(text, tmp_path)


def test_a_start_builds_the_file_and_no_section_for_itself() -> None:
    program = """
from sseproxy.config.loader import load
from sseproxy.config.sections import Section

def all_below(kind):
    return {kind, *(below for child in kind.__subclasses__() for below in all_below(child))}

load(None, flags={"--upstream": "http://127.0.0.1:1"}, environ={})
print(*(kind.__name__ for kind in all_below(Section) if kind.__pydantic_complete__))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "FileSchema\n"
