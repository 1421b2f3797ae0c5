"""How do the tests of the core write their scripts?"""

from collections.abc import Iterator

import pytest

from sseproxy.core.stream.transfer import Transfer
from tests.support.playbook import Play, Playbook


@pytest.fixture
def play() -> Iterator[Play]:
    """Makes playbooks, and finishes them after the test."""
    books: list[Playbook] = []

    def begin(session: Transfer) -> Playbook:
        books.append(Playbook(session))
        return books[-1]

    yield begin
    for book in books:
        book.finish()
