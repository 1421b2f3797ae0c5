"""Which Redis do the tests of this room talk to?"""

from collections.abc import Iterator

import pytest

from tests.support.redis_server import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that a test may kill, with a password and with notifications."""
    with RedisServer(password="geheim", notifications="KEA") as started:
        yield started
