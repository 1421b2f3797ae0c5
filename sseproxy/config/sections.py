"""How does a class describe a mapping of the file, and how is such a mapping read, written and compared?

    class DrainSection(Section):
        timeout: DurationOrZero = Field(default=25.0, description="…")

The annotation of a key says what may stand there: a `Section`, ``tuple[X, ...]``, ``Mapping[K, V]``, ``X | None``, or
``Annotated[X, PlainValidator(…), PlainSerializer(…), WithJsonSchema(…)]``, which says how a scalar is read, how it is
written again, and what editors accept. The names are those of pydantic, and mean the same. Pydantic itself took a third
of the time in which a process starts, and 15 MB: what is read here is small, and its scalars have readers of their own.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypedDict, Union, get_args, get_origin

from sseproxy.config.problems import Path
from sseproxy.config.values import BadValue, BadValues, describe

Schema = dict[str, Any]

# Invariants
#   1. All that is wrong is found at once: a value with a fault is left out, and reading goes on with the next.
#   2. Defaults are not read. They are shared, since sections are frozen.
#   3. `model_fields_set` has the keys that were there, whatever they said.


class BeforeValidator:
    """Turns a value into another one, which is read as the type says."""

    def __init__(self, function: Callable[[object], object]) -> None:
        self.function = function


class PlainValidator:
    """Reads a value, whatever the type says. Raises `BadValue` or `BadValues`."""

    def __init__(self, function: Callable[[object], object]) -> None:
        self.function = function


class PlainSerializer:
    """Writes what was read, so that it can be read again."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self.function = function


class WithJsonSchema:
    """What editors accept."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema


#: What goes beside the JSON Schema of a key or a section, or changes it.
MoreSchema = Schema | Callable[[Schema], None] | None


class ConfigDict(TypedDict, total=False):
    """What holds for a section as a whole."""

    json_schema_extra: MoreSchema


class FieldInfo:
    """One key. annotation: its type, without the `Annotated` around it, whose other parts are in metadata.

    is_shown: its value may stand in a `repr`.
    """

    annotation: Any
    metadata: tuple[object, ...]

    def __init__(self, default: object, description: str, json_schema_extra: MoreSchema, *, is_shown: bool) -> None:
        self.default = default
        self.description = description
        self.json_schema_extra = json_schema_extra
        self.is_shown = is_shown


def Field(  # noqa: N802 - as in pydantic
    *,
    default: object,
    description: str,
    json_schema_extra: MoreSchema = None,
    repr: bool = True,  # noqa: A002
) -> Any:
    """Return what stands behind the annotation of a key: what holds when it is left out, and what it is for."""
    return FieldInfo(default, description, json_schema_extra, is_shown=repr)


class Fault(NamedTuple):
    """What is wrong at one place. unknown_in: the section that has no such key, if that is what is wrong.

    is_key: the key itself is at fault, not what stands there.
    """

    path: Path
    errors: tuple[BadValue, ...] = ()
    unknown_in: "type[Section] | None" = None
    is_key: bool = False


class SectionError(ValueError):
    """A mapping does not say what it should. faults: all that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        super().__init__("a section has faults")
        self.faults = tuple(faults)


class Section:
    """A mapping of the file. A section with nothing in it is the same as one that is left out.

    The names that every section has begin with ``model_``, so that no key of the file can have one of them.
    """

    model_config: ClassVar[ConfigDict] = {}
    model_fields: ClassVar[dict[str, FieldInfo]] = {}
    model_fields_set: frozenset[str]

    def __init_subclass__(cls) -> None:
        own = {}
        for name, annotation in inspect.get_annotations(cls).items():
            info = cls.__dict__[name]
            parts = get_args(annotation) if hasattr(annotation, "__metadata__") else (annotation,)
            info.annotation, *metadata = parts
            info.metadata = tuple(metadata)
            own[name] = info
        cls.model_fields = {**cls.model_fields, **own}

    def __init__(self, **values: object) -> None:
        self.__dict__.update(type(self).model_validate(values).__dict__)

    @classmethod
    def model_validate(cls, value: object) -> Self:
        """Read a mapping. Raises `SectionError`."""
        faults: list[Fault] = []
        found = read(cls, (), value, (), faults)
        if faults:
            raise SectionError(faults)
        assert isinstance(found, cls)
        return found

    @classmethod
    def model_construct(cls, _fields_set: Iterable[str] | None = None, **values: object) -> Self:
        """Make a section of values that have been read. _fields_set: the keys that count as written; all of them."""
        made = cls.__new__(cls)
        defaults = {name: info.default for name, info in cls.model_fields.items()}
        said = frozenset(values if _fields_set is None else _fields_set)
        made.__dict__.update({**defaults, **values, "model_fields_set": said})
        return made

    @classmethod
    def model_prepare(cls, value: object) -> object:
        """Return what is read in place of `value`. Raises `BadValue`."""
        return {} if value is None else value

    def model_dump(self, exclude: Iterable[str] = ()) -> dict[str, Any]:
        """Write the section as plain data, which can be read again."""
        kept = [(name, info) for name, info in self.model_fields.items() if name not in exclude]
        return {name: written(info.annotation, info.metadata, getattr(self, name)) for name, info in kept}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Section) or type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.model_fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name, info in self.model_fields.items() if info.is_shown)
        return f"{type(self).__name__}({', '.join(shown)})"


def read(annotation: Any, metadata: Iterable[object], value: object, path: Path, faults: list[Fault]) -> object:
    """Return what `value` means, as its type says. What is wrong with it is added to `faults`."""
    try:
        for mark in metadata:
            if isinstance(mark, PlainValidator):
                return mark.function(value)
            if isinstance(mark, BeforeValidator):
                value = mark.function(value)
        return read_typed(annotation, value, path, faults)
    except BadValue as error:
        faults.append(Fault(path, (error,)))
    except BadValues as several:
        faults.append(Fault(path, several.errors))
    return None


def read_typed(annotation: Any, value: object, path: Path, faults: list[Fault]) -> object:
    """Return what `value` means. Raises `BadValue` if it is of another kind; what is wrong in it goes to `faults`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return read(parts[0], parts[1:], value, path, faults)
    if origin in (Union, UnionType):
        return None if value is None else read_typed(without_none(parts), value, path, faults)
    if origin is None:
        return read_section(annotation, value, path, faults)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            hint = f"[{value}]" if isinstance(value, str) and value.isalnum() else ""
            raise BadValue(f"expected a list, got {describe(value)}", hint)
        return tuple(read(parts[0], (), item, (*path, index), faults) for index, item in enumerate(value))
    if not isinstance(value, Mapping):
        raise BadValue(f"expected a mapping, got {describe(value)}")
    return read_mapping(parts, value, path, faults)


def read_section(section: type[Section], value: object, path: Path, faults: list[Fault]) -> Section:
    """Return the section that `value` stands for. Raises `BadValue`."""
    if isinstance(value, section):
        return value
    value = section.model_prepare(value)
    if not isinstance(value, Mapping):
        raise BadValue(f"expected a mapping, got {describe(value)}")
    found = {
        name: read(info.annotation, info.metadata, value[name], (*path, name), faults)
        for name, info in section.model_fields.items()
        if name in value
    }
    faults += [Fault((*path, key), unknown_in=section) for key in value if key not in section.model_fields]
    return section.model_construct(found, **found)


def read_mapping(
    parts: tuple[Any, ...], value: Mapping[Any, object], path: Path, faults: list[Fault]
) -> dict[object, object]:
    """Return a mapping whose keys are free. parts: the types of keys and values."""
    found = {}
    for key, inner in value.items():
        of_key: list[Fault] = []
        name = read(parts[0], (), key, (*path, key), of_key)
        faults += [fault._replace(is_key=True) for fault in of_key]
        found[name] = read(parts[1], (), inner, (*path, key), faults)
    return found


def written(annotation: Any, metadata: Iterable[object], value: Any) -> Any:
    """Return plain data that `read` takes for `value`."""
    for mark in metadata:
        if isinstance(mark, PlainSerializer):
            return mark.function(value)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return written(parts[0], parts[1:], value)
    if origin in (Union, UnionType) and value is not None and len(parts) == 2:
        return written(without_none(parts), (), value)
    if origin is tuple:
        return [written(parts[0], (), item) for item in value]
    if isinstance(value, Mapping):
        return {key: written(parts[1], (), inner) for key, inner in value.items()}
    return value.model_dump() if isinstance(value, Section) else value


def without_none(parts: Iterable[Any]) -> Any:
    """Return the other part of ``X | None``."""
    return next(part for part in parts if part is not type(None))
