"""How is the house built, in figures? (`make shape`)

Each figure is counted in the sources, so that a reader can check it and a test can hold it.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Words that leave open who acts or what is meant.
RIDDLES = re.compile(
    r"\b(whoever|whomever|whosever|nobody|somebody|someone|anybody|everybody|ours|theirs|told|knows|"
    r"lets? go of|gives? up|has a say|hung up|hangs? up|at hand)\b",
    re.IGNORECASE,
)

#: Tests that have to look inside, and why. All others use what is public.
ALLOWED_LOOKS = {
    "tests/aiohttp/test_leans.py": "names the private parts of aiohttp that sseproxy uses, and fails when one is gone",
    "tests/aiohttp/proxy/test_leans.py": "likewise, for the proxy as a handler",
    "tests/stores/test_tickets.py": "a leak test: what is left of 20,000 tickets shows in no answer of the store",
    "tests/test_timers.py": "a leak test: cancelled entries, and turns of the loop, cost memory and time only",
}

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def length(self) -> int:
        return len(self.text.splitlines())

    @cached_property
    def comments(self) -> list[str]:
        """The comments that have a line of their own."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [
            token.string
            for token in tokens
            if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip()
        ]

    @cached_property
    def docstrings(self) -> list[ast.Constant]:
        """All docstrings."""
        holders = (ast.Module, ast.ClassDef, *_FUNCTIONS)
        return [
            node.body[0].value
            for node in ast.walk(self.tree)
            if isinstance(node, holders)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
            and isinstance(node.body[0].value.value, str)
        ]

    @property
    def prose(self) -> str:
        """Docstrings and comments."""
        return "\n".join([str(node.value) for node in self.docstrings] + self.comments)

    @property
    def code_lines(self) -> int:
        """Lines that are neither empty nor prose."""
        in_docstrings = sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in self.docstrings)
        filled = sum(1 for line in self.text.splitlines() if line.strip())
        return filled - in_docstrings - len(self.comments)

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, _FUNCTIONS))

    @cached_property
    def uses(self) -> Counter[str]:
        """How often each name is read, as a name or as an attribute."""
        names = (node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name))
        attributes = (node.attr for node in ast.walk(self.tree) if isinstance(node, ast.Attribute))
        return Counter([*names, *attributes])

    @property
    def single_helpers(self) -> list[str]:
        """Private functions that one place uses."""
        return [node.name for node in self.functions if _is_private(node.name) and self.uses[node.name] == 1]

    @property
    def own_imports(self) -> set[str]:
        """The modules of the package that this one imports."""
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)]
        return {node.module for node in nodes if node.module and node.module.startswith("sseproxy.")}

    @property
    def flags(self) -> set[tuple[str, str]]:
        """Attributes that are set to True or False, by class."""
        found = set()
        for holder in ast.walk(self.tree):
            if isinstance(holder, ast.ClassDef):
                found |= {(holder.name, name) for name in _flags_of(holder)}
        return found

    @property
    def private_looks(self) -> list[str]:
        """Private attributes that are read of something else than ``self``."""
        looks = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                holder = node.value.id if isinstance(node.value, ast.Name) else ""
                if holder not in ("self", "cls", "os"):  # `os._exit` is documented
                    looks.append(f"{self.name}:{node.lineno}: {ast.unparse(node)}")
        return looks


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _flags_of(holder: ast.ClassDef) -> Iterator[str]:
    is_frozen = any("frozen=True" in ast.unparse(decorator) for decorator in holder.decorator_list)
    for node in ast.walk(holder):
        if isinstance(node, ast.Assign) and _is_bool(node.value):
            targets = [target for target in node.targets if isinstance(target, ast.Attribute)]
            yield from (target.attr for target in targets if ast.unparse(target.value) == "self")
    if not is_frozen:
        fields = [node for node in holder.body if isinstance(node, ast.AnnAssign)]
        yield from (ast.unparse(field.target) for field in fields if ast.unparse(field.annotation) == "bool")


def _is_bool(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def modules(folder: str) -> list[Module]:
    """Return all modules below `folder` of the repository."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [Module(path) for path in paths if "node_modules" not in path.parts]


@dataclass(frozen=True)
class Shape:
    """The figures of the package, and the private looks of its tests."""

    sources: list[Module]
    tests: list[Module]

    @property
    def lines(self) -> int:
        return sum(module.length for module in self.sources)

    @property
    def riddles(self) -> float:
        """Per 1,000 words of docstrings and comments."""
        prose = "\n".join(module.prose for module in self.sources)
        return 1000 * len(RIDDLES.findall(prose)) / len(_WORD.findall(prose))

    @property
    def single_helpers(self) -> float:
        """The percentage of all functions that are private and have one caller."""
        helpers = sum(len(module.single_helpers) for module in self.sources)
        return 100 * helpers / sum(1 for module in self.sources for _ in module.functions)

    @property
    def flags(self) -> float:
        """Per 1,000 lines."""
        return 1000 * sum(len(module.flags) for module in self.sources) / self.lines

    @property
    def comments(self) -> float:
        """Lines of comment per 100 lines of code."""
        comments = sum(len(module.comments) for module in self.sources)
        return 100 * comments / sum(module.code_lines for module in self.sources)

    @property
    def private_looks(self) -> list[str]:
        """Those of tests that are not in `ALLOWED_LOOKS`."""
        tests = [module for module in self.tests if module.name not in ALLOWED_LOOKS]
        return [look for module in tests for look in module.private_looks]


def measure() -> Shape:
    """Read the repository."""
    return Shape(modules("sseproxy"), modules("tests"))


def main() -> None:
    """Print the figures, and where the worst places are."""
    shape = measure()
    longest = sorted(shape.sources, key=lambda module: module.length)[-6:]
    widest = sorted(shape.sources, key=lambda module: len(module.own_imports))[-4:]
    print(f"lines                                   {shape.lines}")
    print(f"riddles per 1,000 words of prose        {shape.riddles:.1f}")
    print(f"private helpers with one caller         {shape.single_helpers:.1f} %")
    print(f"flags per 1,000 lines                   {shape.flags:.1f}")
    print(f"comment lines per 100 lines of code     {shape.comments:.1f}")
    print(f"private looks in tests                  {len(shape.private_looks)}")
    print("longest  ", ", ".join(f"{module.name} {module.length}" for module in longest))
    print("most own imports  ", ", ".join(f"{module.name} {len(module.own_imports)}" for module in widest))
    for title, per in (("single helpers", "single_helpers"), ("flags", "flags")):
        worst = sorted(shape.sources, key=lambda module: len(getattr(module, per)))[-12:]
        print(title, ", ".join(f"{module.name} {len(getattr(module, per))}" for module in worst))


if __name__ == "__main__":
    main()
