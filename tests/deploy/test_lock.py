"""Does the image get what pyproject.toml asks for, and is each file of it known by its hash?"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = {
    "requirements.lock": [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["redis"]],
    "build.lock": PROJECT["build-system"]["requires"],
}
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+?))? \\")


@dataclass(frozen=True)
class Pin:
    """One package of a lock. needed_by: names of others, and of the file that asks for it."""

    version: str
    hashes: int
    needed_by: frozenset[str]


def pins(name: str) -> dict[str, Pin]:
    found: dict[str, Pin] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / "deploy" / name).read_text())[1:]:
        pin = _PIN.match(block)
        assert pin is not None, block
        needed = re.findall(r"^    # (?:via |  )(\S.*)$", block, re.MULTILINE)
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)
        found[canonicalize_name(pin["name"])] = Pin(pin["version"], len(hashes), frozenset(needed))
    return found


@pytest.mark.parametrize("name", WANTED)
def test_what_is_asked_for_is_there_in_a_version_that_fits(name: str) -> None:
    locked = pins(name)
    for written in WANTED[name]:
        requirement = Requirement(written)
        pin = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version), f"{written}: deploy/lock writes the locks anew"


@pytest.mark.parametrize("name", WANTED)
def test_nothing_else_is_there(name: str) -> None:
    locked, wanted = pins(name), {canonicalize_name(Requirement(written).name) for written in WANTED[name]}
    for package, pin in locked.items():
        assert package in wanted or pin.needed_by & locked.keys(), f"{package}: deploy/lock writes the locks anew"


@pytest.mark.parametrize("name", WANTED)
def test_every_file_has_its_hash(name: str) -> None:
    assert [package for package, pin in pins(name).items() if not pin.hashes] == []


@pytest.mark.parametrize("name", WANTED)
def test_the_locks_name_no_place_of_their_own(name: str) -> None:
    """The packages come from wherever pip is told to take them."""
    assert re.findall(r"^-|https?://|file:", (ROOT / "deploy" / name).read_text(), re.MULTILINE) == []
