"""Which keys does the configuration file have? Prints docs/reference.md, made from the JSON Schema.

python -m website.reference > docs/reference.md        (`make docs-reference`)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sseproxy.config.schema import json_schema

#: A node of the JSON Schema.
Node = dict[str, Any]

HEAD = """\
# Every key

<!-- Made from the JSON Schema by `make docs-reference`. Change the descriptions in sseproxy/config, not here. -->

All keys of the file, as `sseproxy schema` has them. [Configuration](configuration.md) explains how they work together,
with examples. [config/sseproxy.full.yaml](../config/sseproxy.full.yaml) has the same keys as one file to copy from.

A *duration* is `15`, `15s`, `1.5s`, `500ms`, `2m` or `1h`; a bare number is seconds. A *size* is `65536`, `64KiB`,
`1MiB` or `1GiB`. Any value may be [`${NAME}` or `${NAME:-default}`](configuration.md#how-values-are-written). A dash in
the column *default* means that the key is left out. What it would do is not done, unless its meaning says what holds
then.
"""

#: What a section says before its table, beside what the schema says of it.
NOTES = {
    "admin": "What it answers is in [Operations](operations.md).",
    "routes": "A list. Each route may also have any key of [`defaults`](#defaults).",
    "store": "The word `memory` in place of the section is the same as an empty one.",
}


def resolve(node: Node, schema: Node) -> Node | None:
    """Return the section that a key holds, or holds a list of; None if it holds a plain value."""
    for part in (node, node.get("items", {}), *node.get("anyOf", ())):
        if "$ref" in part:
            found: Node = schema["$defs"][part["$ref"].rpartition("/")[2]]
            return found
    return None


def alternatives(node: Node) -> Iterator[str]:
    """Yield in words what a value may be. References to the environment go without saying."""
    if "anyOf" in node:
        for part in node["anyOf"]:
            yield from alternatives(part)
    elif "enum" in node or "const" in node:
        yield from (f"`{word}`" for word in node.get("enum", [node.get("const")]))
    elif "$ref" in node:
        yield "section"
    elif node.get("type") == "array":
        yield f"list of {' or '.join(f'{word}s' for word in dict.fromkeys(alternatives(node['items'])))}"
    elif node.get("type") == "object":
        names = [f"{name}: …" for name in node.get("properties", {})]
        shown = names if len(names) < 3 else [names[0], "…"]
        yield f"`{{{', '.join(shown)}}}`" if names else "names and values"
    elif node.get("type") == "string":
        yield from words_of_text(node.get("pattern", ""))
    elif node.get("type") != "null":
        yield {"boolean": "`true`", "integer": "number", "number": "number"}.get(node.get("type", ""), "text")
        if node.get("type") == "boolean":
            yield "`false`"


def words_of_text(pattern: str) -> list[str]:
    """What a text has to look like, by its pattern."""
    if pattern == r"\$\{":
        return []
    if "(ms|s|m|h)" in pattern:
        return ["duration", "`off`"] if "off" in pattern else ["duration"]
    kinds = {"KiB": "size", "://": "URL", "unix:": "address", "cookie:": "text", "^/": "path"}
    return [next((word for sign, word in kinds.items() if sign in pattern), "text")]


def type_cell(node: Node) -> str:
    """The column *type*: numbers are durations and sizes, too, where those are allowed."""
    found = list(dict.fromkeys(alternatives(node)))
    if {"duration", "size"} & set(found) and "number" in found:
        found.remove("number")
    lists = [word for word in found if word.startswith("list of ")]
    if lists and len(found) > 1:
        return f"{' or '.join(word for word in found if word not in lists)}, or a list"
    return " or ".join(found) if len(found) < 3 else f"{', '.join(found[:-1])} or {found[-1]}"


def default_cell(value: object) -> str:
    """The column *default*."""
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, str):
        return f"`{value}`" if value else "empty"
    return f"`{json.dumps(value)}`"


def required_cell(name: str, section: Node) -> str | None:
    """The column *default* of a key that must be there, perhaps in place of another."""
    if name in section.get("required", ()):
        return "required"
    for choice in (section.get("oneOf", []), section.get("anyOf", [])):
        names = [key for part in choice for key in part.get("required", ())]
        if name in names:
            others = ", ".join(f"`{other}`" for other in names if other != name)
            return f"this or {others}"
    return None


class Reference:
    """The page, section by section."""

    def __init__(self, schema: Node) -> None:
        self._schema = schema
        self._inherited = set(schema["$defs"]["InheritedSection"]["properties"])
        self.lines = [HEAD.rstrip()]

    def write(self, section: Node, path: str = "", defaults: object = None) -> None:
        """Add the table of a section, then its sections."""
        properties = section["properties"]
        if path == "routes":
            properties = {name: node for name, node in properties.items() if name not in self._inherited}
        if path:
            self.lines += ["", "| key | type | default | meaning |", "|---|---|---|---|"]
        inner = []
        for name, node in properties.items():
            below = f"{path}.{name}" if path else name
            held = resolve(node, self._schema)
            meaning = node.get("description", (held or {}).get("description", ""))
            default = defaults[name] if isinstance(defaults, dict) and name in defaults else node.get("default")
            if path:
                self.lines.append(self.row(below, node, required_cell(name, section), default, meaning))
            if held is not None:
                inner.append((below, meaning, held, default))
        for below, meaning, held, default in inner:
            self.lines += ["", f"{'#' * min(2 + below.count('.'), 4)} `{below}`", "", meaning]
            if below in NOTES:
                self.lines += ["", NOTES[below]]
            self.write(held, below, default)

    def row(self, path: str, node: Node, required: str | None, default: object, meaning: str) -> str:
        """One key. The anchor is its path."""
        name = path.rpartition(".")[2]
        is_section = resolve(node, self._schema) is not None
        shown = f"[`{name}`](#{path.replace('.', '')})" if is_section else f"`{name}`"
        cells = [f'<a id="{path}"></a>{shown}', type_cell(node)]
        cells += [required or ("" if is_section and default else default_cell(default)), meaning.replace("*", r"\*")]
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def reference() -> str:
    """Return docs/reference.md."""
    schema = json_schema()
    page = Reference(schema)
    page.write(schema)
    return "\n".join(page.lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
