"""Is the house still built as it should be? `make shape` prints these figures, and where the worst places are."""

import pytest

from tests import shape
from tests.shape import ALLOWED_LOOKS, Module

SHAPE = shape.measure()


def test_prose_says_who_acts() -> None:
    """Riddles, per 1,000 words of docstrings and comments."""
    assert SHAPE.riddles < 2


def test_a_private_helper_earns_its_name() -> None:
    """The percentage of all functions that are private and have one caller."""
    assert SHAPE.single_helpers <= 12


@pytest.mark.parametrize("module", SHAPE.sources, ids=lambda module: module.name)
def test_a_module_knows_few_others(module: Module) -> None:
    assert len(module.own_imports) <= 15, sorted(module.own_imports)


@pytest.mark.parametrize("module", SHAPE.sources, ids=lambda module: module.name)
def test_a_module_is_one_noun(module: Module) -> None:
    assert module.length <= 400


def test_few_modules_are_pressed_against_the_limit() -> None:
    """A limit that cuts functions, and not responsibilities, does harm."""
    assert [module.name for module in SHAPE.sources if module.length > 360][2:] == []


def test_state_is_no_heap_of_flags() -> None:
    """Attributes that are set to True or False, per 1,000 lines."""
    assert SHAPE.flags <= 4


def test_comments_say_why() -> None:
    """Lines of comment, per 100 lines of code."""
    assert SHAPE.comments >= 5


def test_tests_look_at_what_is_public() -> None:
    assert SHAPE.private_looks == []


def test_who_may_look_inside_does() -> None:
    """A reason that is not needed any more is not kept."""
    looking = {module.name for module in SHAPE.tests if module.private_looks}
    assert set(ALLOWED_LOOKS) <= looking
