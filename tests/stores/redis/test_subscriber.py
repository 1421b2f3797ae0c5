"""Does a subscriber hear everything that Redis gives it, and does it notice when it hears nothing any more?"""

import asyncio

import pytest

from sseproxy.stores.redis.keyspace import keyspace_channel, rings
from sseproxy.stores.redis.link import Link
from tests.stores.redis.stand import NODE, Listener, a_link, a_subscriber, recovered
from tests.support.nemesis import Nemesis
from tests.support.patience import LIMIT
from tests.support.redis_server import RedisServer
from tests.support.settled import eventually as until


async def heard_again(link: Link, listener: Listener, channel: bytes) -> None:
    """Publish until the listener hears it."""
    before = len(listener.heard)
    async with asyncio.timeout(LIMIT):
        while len(listener.heard) == before:
            await recovered(link, "PUBLISH", channel, "again")
            await asyncio.sleep(0.02)


async def test_messages_come_in_order_and_as_they_are(server: RedisServer) -> None:
    async with a_link(server.url) as link, a_subscriber(link) as subscriber:
        listener = Listener()
        subscription = listener.subscribe(subscriber, b"news")
        assert not subscription.is_ready
        await until(lambda: listener.ready == 1)
        assert subscription.is_ready
        sent = [b"%d\xff\r\n" % number for number in range(2000)]
        await link.run_all([("PUBLISH", b"news", payload) for payload in sent])
        await until(lambda: len(listener.heard) == 2000)
        assert listener.heard == sent


async def test_one_subscription_for_all_callers(server: RedisServer) -> None:
    async with a_link(server.url) as link, a_subscriber(link) as subscriber:
        listeners = [Listener() for _ in range(20)]
        subscriptions = [each.subscribe(subscriber, b"news") for each in listeners]
        await until(lambda: all(each.ready == 1 for each in listeners))
        late = Listener()
        subscriptions.append(late.subscribe(subscriber, b"news"))
        assert late.ready == 0
        await until(lambda: late.ready == 1)
        assert await link.run("PUBLISH", b"news", b"x") == 1
        await until(lambda: all(each.heard == [b"x"] for each in [*listeners, late]))
        for subscription in subscriptions[1:]:
            subscription.close()
            subscription.close()
        assert await link.run("PUBLISH", b"news", b"y") == 1
        await until(lambda: listeners[0].heard == [b"x", b"y"])
        assert late.heard == [b"x"]
        subscriptions[0].close()
        await until(lambda: server.cli("PUBSUB", "NUMSUB", "news")[1] == 0)
        assert [each.ready for each in listeners] == [1] * 20


async def test_subscribed_and_unsubscribed_in_quick_turns(server: RedisServer) -> None:
    async with a_link(server.url) as link, a_subscriber(link) as subscriber:
        for turn in range(50):
            listener = Listener()
            subscription = listener.subscribe(subscriber, b"news")
            await asyncio.sleep(0.001 * (turn % 5))
            if turn % 2:
                await until(lambda listener=listener: listener.ready > 0)  # type: ignore[misc]
                await link.run("PUBLISH", b"news", b"x")
                await until(lambda listener=listener: listener.heard == [b"x"])  # type: ignore[misc]
            subscription.close()
        await until(lambda: server.cli("PUBSUB", "NUMSUB", "news")[1] == 0)


async def test_thousands_of_channels_are_few_commands(server: RedisServer) -> None:
    async with a_link(server.url) as link, a_subscriber(link) as subscriber:
        listener = Listener()
        subscriptions = [listener.subscribe(subscriber, b"user:%d" % number) for number in range(5000)]
        await until(lambda: listener.ready == 5000)
        calls = await link.run("INFO", "commandstats")
        assert b"cmdstat_subscribe:calls=11," in calls.replace(b"|", b"_") or b"cmdstat_subscribe:calls=1" in calls
        assert server.cli("CLIENT", "LIST", "TYPE", "pubsub").count("\n") == 1
        server.cli("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: listener.ready == 10_000)
        for number in range(0, 5000, 500):
            assert await link.run("PUBLISH", b"user:%d" % number, b"x") == 1
        await until(lambda: len(listener.heard) == 10)
        for subscription in subscriptions:
            subscription.close()
        await until(lambda: server.cli("PUBSUB", "CHANNELS", "user:*") == [])


async def test_a_callback_that_fails_harms_no_other(server: RedisServer) -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with a_link(server.url) as link, a_subscriber(link) as subscriber:
        subscriber.subscribe(b"news", fail, fail)
        listener = Listener()
        listener.subscribe(subscriber, b"news")
        await until(lambda: listener.ready == 1)
        await link.run("PUBLISH", b"news", b"x")
        await until(lambda: listener.heard == [b"x"])
    loop.set_exception_handler(None)
    assert len(reported) == 2


async def test_killed_and_restarted(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with a_link(server.url) as link, a_subscriber(link) as subscriber:
        listener = Listener()
        subscription = listener.subscribe(subscriber, b"news")
        await until(lambda: listener.ready == 1)
        server.kill()
        await until(lambda: not subscription.is_ready)
        late = Listener()
        late.subscribe(subscriber, b"late")
        server.restart()
        await until(lambda: listener.ready == 2 and late.ready == 1)
        await heard_again(link, listener, b"news")
    assert "geheim" not in caplog.text


async def test_half_open_and_frozen(server: RedisServer) -> None:
    async with (
        a_link(server.url) as link,
        Nemesis(server.port) as nemesis,
        a_link(server.url_at(nemesis.port)) as relayed,
        a_subscriber(relayed) as subscriber,
    ):
        listener = Listener()
        listener.subscribe(subscriber, b"news")
        await until(lambda: listener.ready == 1)
        nemesis.forget()
        await until(lambda: listener.ready == 2)
        await heard_again(link, listener, b"news")
        nemesis.drop()
        await until(lambda: not relayed.is_up)
        nemesis.heal()
        await heard_again(link, listener, b"news")
        server.freeze()
        await until(lambda: not link.is_up and not relayed.is_up)
        server.thaw()
        await heard_again(link, listener, b"news")


async def test_attached_to_a_node_that_gets_no_messages(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is healthy and answers, and nothing that is published is heard there."""
    with RedisServer(password="geheim") as other:
        async with Nemesis(other.port) as nemesis, a_link(server.url) as link:
            await link.run("PING")
            # The subscriber dials through the relay to the wrong server; its probes go to the right one.
            link.dialer.url = link.dialer.url.parse(server.url_at(nemesis.port))
            async with a_subscriber(link) as subscriber:
                listener = Listener()
                listener.subscribe(subscriber, b"news")
                await until(lambda: listener.ready >= 2)
                assert "no message is heard" in caplog.text


async def test_a_quiet_subscription_is_probed_and_left_alone(server: RedisServer) -> None:
    async with a_link(server.url) as link, a_subscriber(link) as subscriber:
        listener = Listener()
        listener.subscribe(subscriber, b"news")
        await until(lambda: listener.ready == 1)
        before = server.cli("INFO", "commandstats").get("cmdstat_publish", {"calls": 0})["calls"]
        await until(
            lambda: server.cli("INFO", "commandstats").get("cmdstat_publish", {"calls": 0})["calls"] > before + 2
        )
        assert (listener.ready, listener.heard) == (1, [])


async def test_a_user_that_may_not_use_the_probes_channel(server: RedisServer) -> None:
    server.cli("ACL", "SETUSER", "few", "on", ">pw", "+@all", "~*", "resetchannels", "&news")
    async with a_link(server.url.replace(":geheim@", "few:pw@")) as link, a_subscriber(link) as subscriber:
        allowed, refused = Listener(), Listener()
        first = allowed.subscribe(subscriber, b"news")
        second = refused.subscribe(subscriber, b"secret")
        await until(lambda: allowed.ready == 1)
        await asyncio.sleep(1)  # longer than three silences
        assert (allowed.ready, first.is_ready, second.is_ready) == (1, True, False)
        await heard_again(link, allowed, b"news")


async def test_cut_off_by_redis_for_being_slow() -> None:
    with RedisServer(settings=[("client-output-buffer-limit", "pubsub 1mb 1mb 1")]) as server:
        async with (
            a_link(server.url) as link,
            Nemesis(server.port) as nemesis,
            a_link(server.url_at(nemesis.port)) as relayed,
            a_subscriber(relayed) as subscriber,
        ):
            listener = Listener()
            listener.subscribe(subscriber, b"news")
            await until(lambda: listener.ready == 1)
            nemesis.drop()
            await until(lambda: not relayed.is_up)
            while await recovered(link, "PUBLISH", b"news", b"x" * 1_000_000):
                pass
            nemesis.heal()
            await until(lambda: listener.ready == 2)
            await heard_again(link, listener, b"news")


async def test_keyspace_notifications_ring(server: RedisServer) -> None:
    async with a_link(server.url.removesuffix("/0") + "/2") as link, a_subscriber(link) as subscriber:
        assert await rings(link, subscriber, node=NODE)
        listener = Listener()
        listener.subscribe(subscriber, keyspace_channel(2, b"inbox:1"), everywhere=True)
        await until(lambda: listener.ready == 1)
        await link.run("XADD", b"inbox:1", "*", "data", 1)
        await until(lambda: listener.heard == [b"xadd"])
        server.cli("CONFIG", "SET", "notify-keyspace-events", "")
        assert not await rings(link, subscriber, node=NODE, within=0.2)
        assert await link.run("PTTL", b"sseproxy:bell:node1") > 0


async def test_a_user_that_may_not_ring(server: RedisServer) -> None:
    server.cli("ACL", "SETUSER", "few", "on", ">pw", "+@all", "-xadd", "~*", "&*")
    async with a_link(server.url.replace(":geheim@", "few:pw@")) as link, a_subscriber(link) as subscriber:
        assert not await rings(link, subscriber, node=NODE)


async def test_closed_it_calls_nobody(server: RedisServer) -> None:
    async with a_link(server.url) as link:
        async with a_subscriber(link) as subscriber:
            listener = Listener()
            subscription = listener.subscribe(subscriber, b"news")
            await until(lambda: listener.ready == 1)
        assert not subscription.is_ready
        await until(lambda: server.cli("CLIENT", "LIST", "TYPE", "pubsub") == "")
        subscription.close()
