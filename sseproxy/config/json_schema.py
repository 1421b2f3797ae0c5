"""What do editors accept in a file? (JSON Schema, 2020-12)"""

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from sseproxy.config.sections import FieldInfo, MoreSchema, Schema, Section, WithJsonSchema, without_none, written


def described(section: type[Section]) -> Schema:
    """Return the JSON Schema of a section; those of the sections in it are its ``$defs``."""
    definitions: dict[str, Schema] = {}
    found = schema_of_section(section, definitions)
    return {"$defs": dict(sorted(definitions.items())), **found}


def schema_of_section(section: type[Section], definitions: dict[str, Schema]) -> Schema:
    """Return the schema of one section, and add to `definitions` those that it refers to."""
    properties = {name: schema_of_key(name, info, definitions) for name, info in section.model_fields.items()}
    found: Schema = {
        "additionalProperties": False,
        "description": section.__doc__,
        "properties": properties,
        "title": section.__name__.removesuffix("Section"),
        "type": "object",
    }
    extend(found, section.model_config.get("json_schema_extra"))
    return found


def schema_of_key(name: str, info: FieldInfo, definitions: dict[str, Schema]) -> Schema:
    """Return the schema of one key, with its default."""
    found = schema_of_type(info.annotation, info.metadata, definitions)
    # A section has a title of its own.
    holds_section = "$ref" in found or any("$ref" in part for part in found.get("anyOf", ()))
    if not holds_section:
        found["title"] = name.replace("_", " ").title()
    found["default"] = written(info.annotation, info.metadata, info.default)
    found["description"] = info.description
    extend(found, info.json_schema_extra)
    return found


def schema_of_type(annotation: Any, metadata: Iterable[object], definitions: dict[str, Schema]) -> Schema:
    """Return the schema of whatever may stand at a place."""
    for mark in metadata:
        if isinstance(mark, WithJsonSchema):
            return dict(mark.schema)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return schema_of_type(parts[0], parts[1:], definitions)
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of_type(without_none(parts), (), definitions), {"type": "null"}]}
    if origin is tuple:
        return {"items": schema_of_type(parts[0], (), definitions), "type": "array"}
    if origin is not None:
        return {"additionalProperties": schema_of_type(parts[1], (), definitions), "type": "object"}
    name = annotation.__name__
    if name not in definitions:
        definitions[name] = {}  # a place, for a section that holds itself
        definitions[name] = schema_of_section(annotation, definitions)
    return {"$ref": f"#/$defs/{name}"}


def extend(schema: Schema, more: MoreSchema) -> None:
    """Let a key or a section say more of itself, or change what is said."""
    if callable(more):
        more(schema)
    elif more:
        schema.update(more)
