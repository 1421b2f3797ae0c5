"""What is a section of the file, and what is one value in it, in the terms of pydantic?"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core.core_schema import (
    CoreSchema,
    no_info_plain_validator_function,
    plain_serializer_function_ser_schema,
)


class Scalar:
    """How one value is read, what editors accept, and how it is written again.

    Stands in an `Annotated`, whose type is what `read` returns. read: raises `BadValue` or `BadValues`; pydantic
    converts nothing before, it would take "1" for True. json_schema: its form. write: left out: as it was read.

    pydantic's own `PlainValidator`, `PlainSerializer` and `WithJsonSchema` say the same, but for each key they also
    build what the type means, and throw it away. Each start of a process would wait for that.
    """

    def __init__(
        self,
        read: Callable[[object], object],
        json_schema: Mapping[str, Any],
        *,
        write: Callable[[Any], object] | None = None,
    ) -> None:
        self._read = read
        self._json_schema = json_schema
        self._write = write

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return what pydantic reads and writes by."""
        written = None if self._write is None else plain_serializer_function_ser_schema(self._write)
        return no_info_plain_validator_function(self._read, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return what editors accept. A new one each time: pydantic adds descriptions to it."""
        return dict(self._json_schema)


class Section(BaseModel):
    """A mapping of the file. A section with nothing in it is the same as one that is left out.

    A default that is a section is made by `model_construct`: its values are right as they are, and a section that is
    read only as a part of the file never needs a validator of its own.
    """

    # The titles in the JSON Schema are for people: they do not say "section". Deferred: a file is read as one
    # `FileSchema`, which holds all other sections, so that none of them has to be built for itself.
    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        frozen=True,
        model_title_generator=lambda section: section.__name__.removesuffix("Section"),
        # Inside an app that has this plugin, secrets of a configuration must not go into its traces.
        plugin_settings={"logfire": {"record": "off"}},
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: object) -> object:
        return {} if value is None else value
