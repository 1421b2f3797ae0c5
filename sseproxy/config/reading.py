"""How does a YAML file become a `Document`?"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

import yaml

from sseproxy.config.document import Document, Place
from sseproxy.config.problems import ConfigProblem, Path, write_path
from sseproxy.config.substitution import substitute
from sseproxy.config.values import BadValue
from sseproxy.config.yaml_text import DEEPEST, TAG, Unreadable, compose, read_text

#: Values after aliases are followed: a few nested ones could otherwise unfold to billions.
MOST_VALUES = 100_000


def read_document(path: FilePath, environ: Mapping[str, str]) -> Document:
    """The file at `path`; what is wrong with it is in its `problems`; all that could be read is there."""
    document = Document(str(path))
    try:
        node = compose(read_text(path))
    except Unreadable as error:
        document.problems.append(ConfigProblem(document.file, *error.at, "", error.message, error.hint))
        document.broken.add(())
        return document
    document.places[()] = Place((1, 1))
    if node is not None:
        DocumentReader(document, environ).read(node)
    return document


# A walk over the nodes, depth first, that never stops at an error: all that is wrong is reported at once.
#
# Invariants
#   1. Each value that is in `data` has its place in `places`, under the same path.
#   2. A value that cannot be read is None, its path is in `broken`, and there is one problem for it.
#   3. Work and memory are bounded before a node is looked into: `DEEPEST` levels, `MOST_VALUES` values in all.
#
# Hazards
#   - ``a: &a [*a]`` stands inside of itself: the nodes that are being read are in `_open`.
#   - ``[*a, *a, …]`` with ten levels unfolds to billions (the "billion laughs"): an alias is read again each time, and
#     each time counts. When nothing is left the loops stop, too: they would go on over the nodes without a word.
#   - A key that is given twice: the first holds, so that its place is that of the value.


class DocumentReader:
    """Turns nodes into data, and notes their places."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._open: set[int] = set()
        self._left = MOST_VALUES

    def read(self, root: yaml.Node) -> None:
        """Read the whole file."""
        self._document.places[()] = Place(_start(root))
        data = self.value(root, ())
        if isinstance(data, dict):
            self._document.data = data
        elif data is not None:
            self._wrong((), "expected a mapping at the top of the file", "such as routes: [...]")

    def value(self, node: yaml.Node, path: Path) -> object:
        """What a node says, within the bounds."""
        self._left -= 1
        if id(node) in self._open:
            return self._wrong(path, "an alias stands inside of what it repeats")
        if len(path) > DEEPEST:
            return self._wrong(path[:DEEPEST], f"is nested deeper than {DEEPEST} levels")
        if self._left <= 0:
            return self._wrong((), f"aliases unfold to more than {MOST_VALUES} values") if self._left == 0 else None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
                return self.mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
                return self.sequence(node, path)
            if isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(TAG) in SCALARS:
                return self.scalar(node, path)
            return self._wrong(path, f"tag {node.tag.replace(TAG, '!!')} is not supported")
        finally:
            self._open.remove(id(node))

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        """Keys are text, whatever they look like: ``1:`` is the key ``1``."""
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            if self._left <= 0:
                break
            if not isinstance(key_node, yaml.ScalarNode):
                self._wrong(path, "a key must be text")
                continue
            here, at = (*path, str(key_node.value)), _start(key_node)
            if key_node.value in result:
                first = self._document.position(here, at_key=True)
                message = f"is given twice, first on line {first[0]}"
                self._document.problems.append(ConfigProblem(self._document.file, *at, write_path(here), message))
                continue
            self._document.places[here] = Place(_start(value_node), at, isinstance(value_node, yaml.ScalarNode))
            if key_node.value == "<<":
                hint = "routes inherit from defaults"
                self._document.problem(here, "merge keys are not supported", hint, at_key=True)
            else:
                result[key_node.value] = self.value(value_node, here)
        return result

    def sequence(self, node: yaml.SequenceNode, path: Path) -> list[object]:
        """The items of a list."""
        items = []
        for index, item in enumerate(node.value):
            if self._left <= 0:
                break
            here = (*path, index)
            self._document.places[here] = Place(_start(item), is_scalar=isinstance(item, yaml.ScalarNode))
            items.append(self.value(item, here))
        return items

    def scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        """A scalar with its references replaced; one that has any loses its YAML type, see `UntypedText`."""
        try:
            found = substitute(node.value, self._environ)
        except BadValue as error:
            # The variables count as known all the same: `unknown_variables` must not complain of them, too.
            self._document.variables.update(re.findall(r"\$\{(\w+)", node.value))
            return self._wrong(path, error.message, error.hint)
        self._document.variables.update(found.names)
        if found.names:
            self._document.substituted.add(path)
        return found.text if found.names else SCALARS[node.tag.removeprefix(TAG)](str(found.text))

    def _wrong(self, path: Path, message: str, hint: str = "") -> object:
        """Note it, and return what stands in for the value."""
        self._document.problem(path, message, hint)
        self._document.broken.add(path)
        return None


def integer(text: str) -> int | str:
    """Decimal, ``0x`` or ``0o``; any other text is itself: it has an explicit ``!!int`` before it."""
    digits = text.lower()
    base = {"0x": 16, "0o": 8}.get(digits[:2], 10)
    try:
        return int(digits, base)
    except ValueError:
        return text


def decimal(text: str) -> float | str:
    """A float; any other text is itself, as for `integer`."""
    try:
        return float(text)
    except ValueError:
        return text


#: What scalars mean, by tag.
SCALARS: Mapping[str, Callable[[str], object]] = {
    "str": str,
    "bool": lambda text: text in ("true", "True", "TRUE"),
    "null": lambda _: None,
    "int": integer,
    "float": decimal,
}


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
