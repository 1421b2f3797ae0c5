"""Is the picture in README.md one of a real run, and can it be made again?"""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.programs import require

_ROOT = Path(__file__).parents[2]
_SVG = "{http://www.w3.org/2000/svg}"
_NAMES = ["gateway-timeout-light.svg", "gateway-timeout-dark.svg"]
# nginx's 60 s are 1.5 s.
_SCALE = "40"


def _parts(path: Path) -> tuple[list[str], dict[str, int]]:
    """The texts of a picture, and how many shapes it has of each colour."""
    root = ET.parse(path).getroot()
    texts = ["".join(text.itertext()) for text in root.iter(f"{_SVG}text")]
    colours = [shape.get("fill", "") for shape in root.iter(f"{_SVG}rect")]
    return texts, {colour: colours.count(colour) for colour in colours}


def _shapes_of_both_ways(path: Path) -> list[int]:
    """How many marks there are: a limit, heartbeats, words."""
    _, colours = _parts(path)
    names = ("#b3261e", "#b4368a", "#0b62d6") if "light" in path.name else ("#ff8a80", "#f08cc9", "#6cabff")
    return [colours.get(name, 0) for name in names]


@pytest.mark.parametrize("name", _NAMES)
def test_the_picture_shows_that_one_way_fails_and_the_other_does_not(name: str) -> None:
    path = _ROOT / "docs/images" / name
    texts, _ = _parts(path)
    assert "The model thinks for 90 seconds. nginx waits for 60." in texts
    assert "✕ 504 Gateway Time-out, no answer" in texts
    assert "✓ 200, the whole answer" in texts
    assert _shapes_of_both_ways(path) == [1, 6, 12]


def test_the_manual_shows_both_pictures() -> None:
    shown = re.findall(r"docs/images/([\w.-]+)", (_ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(_NAMES)


def test_it_can_be_made_again(tmp_path: Path) -> None:
    require("nginx")
    command: list[str | Path] = [sys.executable, _ROOT / "nginx/picture.py", "--scale", _SCALE, "--into", tmp_path]
    done = subprocess.run(command, check=False, cwd=_ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name in _NAMES:
        texts, _ = _parts(tmp_path / name)
        assert "✕ 504 Gateway Time-out, no answer" in texts
        assert "✓ 200, the whole answer" in texts
        limit, heartbeats, words = _shapes_of_both_ways(tmp_path / name)
        assert limit == 1
        assert 1 < words <= 12  # on a busy machine some come together
        assert heartbeats >= 2
