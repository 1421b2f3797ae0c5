"""Is each store that a URL may name opened?"""

import pytest

from sseproxy.config.push_values import store_url
from sseproxy.core.store import REDIS_SCHEMES, SCHEMES, StorePolicy
from sseproxy.stores.memory import MemoryTicketStore
from sseproxy.stores.open import open_store
from sseproxy.stores.redis.urls import Kind
from tests.support.hand_clock import HandClock


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_each_scheme_opens_a_store(scheme: str) -> None:
    store = open_store(StorePolicy(url=f"{scheme.upper()}://h/x"), HandClock())
    assert await store.look(b"1") is None
    await store.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_configuration_lets_each_scheme_through(scheme: str) -> None:
    host = "" if scheme == "redis+unix" else "h"
    url = f"{scheme}://{host}/0" if scheme != "redis+cluster" else f"{scheme}://{host}"
    assert store_url(url) == url


async def test_without_a_url_tickets_are_in_memory() -> None:
    assert isinstance(open_store(StorePolicy(), HandClock()), MemoryTicketStore)


def test_the_schemes_of_redis_are_those_that_its_urls_have() -> None:
    assert {kind.value for kind in Kind} == set(REDIS_SCHEMES)
