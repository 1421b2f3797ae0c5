"""Does the reference have every key of the schema, with its type, default and meaning, and nothing else?"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from docs.website.reference import default_cell, reference, type_cell
from sseproxy.config.schema import json_schema
from tests.docs.pages import DOCS

TEXT = (DOCS / "reference.md").read_text(encoding="utf-8")
SCHEMA = json_schema()
INHERITED = SCHEMA["$defs"]["InheritedSection"]["properties"]


def keys(section: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Each key with its node and the sections that it may hold, by the schema alone."""
    for name, node in section["properties"].items():
        if path == "routes." and name in INHERITED:  # the same as in `defaults`
            continue
        parts = [node, node.get("items", {}), *node.get("anyOf", ())]
        inner = [SCHEMA["$defs"][part["$ref"].rpartition("/")[2]] for part in parts if "$ref" in part]
        yield path + name, node, inner
        for held in inner:
            yield from keys(held, f"{path}{name}.")


WANTED = {path: (node, inner) for path, node, inner in keys(SCHEMA)}
ROWS = {
    found[1]: [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[2:-1]]
    for line in TEXT.splitlines()
    if (found := re.match(r'\| <a id="([a-z_.]+)"></a>', line))
}


def test_it_is_what_the_schema_makes_of_it() -> None:
    assert reference() == TEXT, "run `make docs-reference`"


def test_it_has_every_key_and_no_other() -> None:
    assert len(WANTED) > 80
    assert set(ROWS) == {path for path in WANTED if "." in path}


def test_every_section_has_a_heading_of_its_own_and_nothing_else_has() -> None:
    assert sorted(re.findall(r"(?m)^##+ `(.+)`$", TEXT)) == sorted(path for path in WANTED if WANTED[path][1])


@pytest.mark.parametrize("path", ROWS)
def test_a_row_says_what_the_schema_says(path: str) -> None:
    kind, default, meaning = ROWS[path]
    node, inner = WANTED[path]
    said = node.get("description") or inner[0]["description"]
    assert meaning.replace(r"\*", "*").replace(r"\|", "|") == said
    assert kind != ""
    if not inner and default not in ("required", "-") and not default.startswith("this or "):
        written = node["default"]
        assert default in (default_cell(written), "`127.0.0.1:8080`"), written


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^(off|\d+(ms|s|m|h)?)$"}]},
            "duration or `off`",
        ),
        ({"anyOf": [{"const": "auto"}, {"type": "integer"}, {"type": "null"}]}, "`auto` or number"),
        (
            {
                "anyOf": [
                    {"type": "integer"},
                    {"type": "string", "pattern": "KiB"},
                    {"type": "string", "pattern": r"\$\{"},
                ]
            },
            "size",
        ),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "object", "properties": {"x": {}}}]}, "`a`, `b` or `{x: …}`"),
        ({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, "text, or a list"),
        ({"type": "array", "items": {"type": "string"}}, "list of texts"),
        ({"type": "boolean"}, "`true` or `false`"),
        ({"anyOf": [{"$ref": "#/$defs/X"}, {"const": "off"}]}, "section or `off`"),
    ],
)
def test_a_type_in_words(node: dict[str, Any], words: str) -> None:
    assert type_cell(node) == words
