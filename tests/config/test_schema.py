"""Does the JSON Schema say what the loader does, and are the files that people copy right and complete?"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from sseproxy.config.document import read_document
from sseproxy.config.loader import _model_in, load
from sseproxy.config.overrides import OVERRIDES
from sseproxy.config.schema import FileSchema, json_schema
from tests.config.test_broken_files import rows

HERE = Path(__file__).parents[2]
SMALL, FULL, MANUAL = HERE / "config/sseproxy.yaml", HERE / "config/sseproxy.full.yaml", HERE / "docs/configuration.md"
SCHEMA = json_schema()


def read_plainly(text: str) -> Any:
    """A file as an editor reads it, by the YAML 1.2 core schema."""
    from sseproxy.config.document import _CoreSchemaLoader, _typed, _Walk  # noqa: F401

    return yaml.load(text, Loader=yaml.BaseLoader)


def keys(section: type[BaseModel], above: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """All keys of the file: their path, their section and their name in it."""
    for name, info in section.model_fields.items():
        path = f"{above}{name}"
        yield path, section, name
        inner = _model_in(info.annotation)
        if inner is not None:
            yield from keys(inner, f"{path}.")


def test_every_key_is_described() -> None:
    for path, section, name in keys(FileSchema):
        assert section.model_fields[name].description, path


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", [SMALL, FULL], ids=lambda file: file.name)
def test_the_files_that_people_copy_are_right(file: Path) -> None:
    assert load(file, flags={}, environ={}).routes
    jsonschema.validate(read_document(file, {}).data, SCHEMA)


def test_the_full_file_has_every_key() -> None:
    named = _named(_uncommented(FULL.read_text(encoding="utf-8")))
    inherited = {f"routes.{path}" for path, _, _ in keys(FileSchema) for part in [path] if part.startswith("defaults.")}
    wanted = {path for path, section, _ in keys(FileSchema) if not _is_inherited_in_a_route(path)}
    assert wanted <= named, wanted - named
    assert inherited


def _is_inherited_in_a_route(path: str) -> bool:
    return path.removeprefix("routes.").split(".")[0] in {"dialect", "stream", "heartbeat", "timeouts", "limits"}
