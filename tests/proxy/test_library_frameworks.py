"""Does a mounted proxy work with what frameworks do around it: test clients, their loops, wrong options?"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from sseproxy.proxy import ReverseProxy
from tests.support.echo_upstream import EchoUpstream


@pytest.fixture
def upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream() as upstream:
        yield upstream


def app_with(proxy: ReverseProxy, *, has_lifespan: bool) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with proxy:
            yield

    app = FastAPI(lifespan=lifespan) if has_lifespan else FastAPI()
    app.mount("/v1", proxy)
    return app


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("has_lifespan", [True, False])
def test_a_test_client_may_run_the_app_again_and_again(upstream: EchoUpstream, has_lifespan: bool) -> None:
    """Each time in an event loop of its own, in another thread."""
    proxy = ReverseProxy(upstream.url, rewrite={"strip_prefix": "/v1"}, match={"prefix": "/v1"})
    app = app_with(proxy, has_lifespan=has_lifespan)
    for _ in range(2):
        with TestClient(app) as client:
            for _ in range(2):
                assert client.get("/v1/things").json()["target"] == "/things"


@pytest.mark.filterwarnings("error")
def test_a_test_client_may_make_a_loop_for_each_request(upstream: EchoUpstream) -> None:
    client = TestClient(app_with(ReverseProxy(upstream.url), has_lifespan=False))
    for _ in range(3):
        assert client.get("/v1/a?b=c").json()["target"] == "/v1/a?b=c"
