"""Do the same requests reach the upstream alike, and the same answers the client, whichever door they take?

`make doors-all` asks more servers, and more often.
"""

from tests.proxy.alike.stand import AIOHTTP, UVICORN, fuzz, inside, standing
from tests.support.fronts import AiohttpFront, UvicornFront

_SEED = 15
_REQUESTS = 2000


async def test_all_doors_are_alike() -> None:
    async with standing(inside(UVICORN, UvicornFront.open), inside(AIOHTTP, AiohttpFront.open)) as doors:
        found = await fuzz(doors, _SEED, _REQUESTS)
        assert not found, "\n\n".join(map(str, found))
        assert doors.unseen < doors.cases / 10, "most cases must come to the proxy, whichever server is in front"
        assert doors.arrived > _REQUESTS / 2, "most requests must come to the upstream"
