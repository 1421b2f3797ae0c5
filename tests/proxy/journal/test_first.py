"""What does a client get of a run?"""
from tests.support.run_stand import *

async def test_post_opens():
    async with RunStand.serve("match: {path: /a}, journal: {kind: answer}") as on:
        tab, call = await on.open(b"POST /a", *TAKES_IDS, body=b"{}", first=b"data: 1\n\n")
        print(await tab.event())
        await call.send(b"data: 2\n\n")
        e = await tab.event()
        print(e)
        tab2 = await on.read(b"POST /a", at(id_of(e)), body=b"{}")
        await call.send(b"data: 3\n\n")
        print(await tab2.event())
        await call.finish()
        print(await tab.ending(), await tab2.ending())

async def test_undeclared():
    async with RunStand.serve("match: {path: /a}, journal: {kind: answer}") as on:
        tab, call = await on.open(b"POST /a", body=b"{}", first=b"data: 1\n\n")
        print(await tab.event())
        await call.send(b"data: 2\n\n")
        print(await tab.event())
        await call.finish()
        print(await tab.ending())
