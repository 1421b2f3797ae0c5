"""Does each mutation still break something? Whether it is noticed takes minutes: `make journal-mutations`."""

import pytest

from tests.sim.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_a_mutation_finds_its_place(mutation: Mutation) -> None:
    text = (ROOT / "sseproxy" / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    changed = text.replace(mutation.old, mutation.new)
    compile(changed, mutation.file, "exec")
    assert changed != text
