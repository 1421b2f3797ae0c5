"""Is a mapping read, written and compared as its class says? (`config/sections`)"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import pytest

from sseproxy.config.json_schema import described
from sseproxy.config.sections import (
    BeforeValidator,
    ConfigDict,
    Fault,
    Field,
    PlainSerializer,
    PlainValidator,
    Section,
    SectionError,
    WithJsonSchema,
)
from sseproxy.config.values import BadValue, BadValues


class Colour(StrEnum):
    RED = "red"


def number(value: object) -> int:
    if not isinstance(value, int):
        raise BadValue("no number")
    return value


def short(value: object) -> str:
    if not isinstance(value, str) or len(value) > 3:
        raise BadValues([BadValue("too long"), BadValue("or no text")])
    return value


Number = Annotated[int, PlainValidator(number), WithJsonSchema({"type": "integer"})]
Word = Annotated[str, PlainValidator(short), WithJsonSchema({"type": "string"})]
Red = Annotated[Colour, PlainValidator(Colour), PlainSerializer(str), WithJsonSchema({"const": "red"})]


class Inner(Section):
    """The inner one."""

    size: Number = Field(default=1, description="Its size.")
    secret: Word | None = Field(default=None, description="What is not shown.", repr=False)


class Outer(Section):
    """The outer one."""

    model_config = ConfigDict(json_schema_extra={"required": ["inner"]})

    inner: Inner = Field(default=Inner(), description="Inside.")
    others: tuple[Inner, ...] = Field(default=(), description="More of them.")
    names: Annotated[tuple[Word, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = (
        Field(default=(), description="One or several.")
    )
    colours: Mapping[Word, Red] = Field(default={}, description="By name.")
    maybe: Inner | None = Field(default=None, description="Perhaps.")


class Extended(Outer):
    """With one key more."""

    more: Number = Field(default=0, description="More.")


def faults(value: object) -> list[Fault]:
    with pytest.raises(SectionError) as caught:
        Outer.model_validate(value)
    return list(caught.value.faults)


def places(value: object) -> list[tuple[object, ...]]:
    return [fault.path for fault in faults(value)]


def test_what_is_there_is_read_and_what_is_not_has_its_default() -> None:
    found = Outer.model_validate({"inner": {"size": 2}, "names": "a", "others": [{"size": 3}, {}], "maybe": None})
    assert found == Outer(inner={"size": 2}, names=("a",), others=[Inner(size=3), Inner()])
    assert found.inner.size == 2
    assert found.names == ("a",)
    assert found.others[1] == Inner()
    assert found.colours == {}
    assert found.model_fields_set == {"inner", "names", "others", "maybe"}
    assert found.inner.model_fields_set == {"size"}
    assert found.others[1].model_fields_set == frozenset()


def test_nothing_is_an_empty_section_unless_the_key_may_hold_nothing() -> None:
    assert Outer.model_validate(None) == Outer()
    found = Outer.model_validate({"inner": None, "maybe": None})
    assert (found.inner, found.maybe) == (Inner(), None)


def test_all_that_is_wrong_is_found_at_once() -> None:
    wrong = {
        "inner": {"size": "x", "siez": 1},
        "others": [{"size": 1}, {"size": []}, 7],
        "names": ["abcd"],
        "colours": {"long name": "red"},
        "maybe": [],
        "extra": 1,
    }
    assert places(wrong) == [
        ("inner", "size"),
        ("inner", "siez"),
        ("others", 1, "size"),
        ("others", 2),
        ("names", 0),
        ("colours", "long name"),
        ("maybe",),
        ("extra",),
    ]


def test_a_fault_says_what_it_is() -> None:
    assert faults({"extra": 1})[0].unknown_in is Outer
    assert faults({"inner": {"extra": 1}})[0].unknown_in is Inner
    assert [error.message for error in faults({"names": ["abcd"]})[0].errors] == ["too long", "or no text"]
    assert faults({"colours": {"long name": "red"}})[0].is_key
    (fault,) = faults({"others": "word"})
    assert [(error.message, error.hint) for error in fault.errors] == [("expected a list, got 'word'", "[word]")]
    (fault,) = faults({"inner": "word"})
    assert fault.errors[0].message == "expected a mapping, got 'word'"


def test_what_is_written_is_read_as_the_same() -> None:
    found = Outer(inner={"size": 2, "secret": "abc"}, others=[{}], colours={"a": "red"})
    plain = found.model_dump()
    assert plain == {
        "inner": {"size": 2, "secret": "abc"},
        "others": [{"size": 1, "secret": None}],
        "names": [],
        "colours": {"a": "red"},
        "maybe": None,
    }
    assert Outer.model_validate(plain) == found
    assert set(found.model_dump(exclude=("inner", "others"))) == {"names", "colours", "maybe"}


def test_a_section_that_extends_another_has_the_keys_of_both() -> None:
    assert list(Extended.model_fields) == [*Outer.model_fields, "more"]
    assert "more" not in Outer.model_fields
    assert Extended(more=1) != Extended()
    assert Extended() != Outer()


def test_sections_are_frozen_and_secrets_are_not_shown() -> None:
    section = Inner(secret="abc")
    with pytest.raises(AttributeError):
        section.size = 2
    assert repr(section) == "Inner(size=1)"


def test_a_section_made_of_values_counts_what_it_is_told() -> None:
    assert Inner.model_construct(size=5).model_fields_set == {"size"}
    assert Inner.model_construct(("secret",), size=5).model_fields_set == {"secret"}


def test_the_json_schema_has_keys_defaults_and_descriptions() -> None:
    schema = described(Outer)
    assert schema["required"] == ["inner"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["inner"] == {
        "$ref": "#/$defs/Inner",
        "default": {"size": 1, "secret": None},
        "description": "Inside.",
    }
    assert schema["properties"]["others"]["items"] == {"$ref": "#/$defs/Inner"}
    assert schema["properties"]["maybe"]["anyOf"] == [{"$ref": "#/$defs/Inner"}, {"type": "null"}]
    assert schema["properties"]["colours"]["additionalProperties"] == {"const": "red"}
    assert schema["$defs"]["Inner"]["properties"]["size"] == {
        "type": "integer",
        "title": "Size",
        "default": 1,
        "description": "Its size.",
    }
