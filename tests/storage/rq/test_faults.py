"""What an rq bus does when processes are killed, or Redis comes back older than it was."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost, CommitMismatch, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.rq import ServerSettings
from kubecdc.storage.rq.bus import RqBus
from kubecdc.storage.testing.actors import KEY, SOURCE, SUBJECT, Leader, Receiver, event, events, raises, until
from tests.harness.proxy import Proxy
from tests.storage import redis_server
from tests.storage.redis_server import RedisServer
from tests.storage.rq.conftest import RqHarness
from tests.storage.rq.process import BATCH
from tests.storage.rq.workshop import SPEC, SUBSCRIPTION, Workshop, workshop

NAME = "billing"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)
ACK_WAIT = 2.0  # seconds
LATE = 0.5  # seconds that a reply takes


@pytest.fixture
async def shop(shared_redis: RedisServer, tmp_path: Path) -> AsyncIterator[Workshop]:
    settings = ServerSettings(shared_redis.database(5), name=tmp_path.name.replace("_", "-"))
    async with workshop(settings, tmp_path) as shop:
        yield shop


@pytest.fixture
def server(tmp_path: Path) -> Any:
    redis_server.require()
    server = RedisServer(tmp_path, "--appendfsync", "always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def own(server: RedisServer) -> AsyncIterator[RqHarness]:
    """On a server that the test may kill."""
    harness = RqHarness(ServerSettings(server.url, ack_wait=timedelta(seconds=ACK_WAIT)))
    yield harness
    for bus in harness.opened:
        await bus.close()


@pytest.mark.parametrize("seconds", [0.2, 0.5])
async def test_a_commit_that_is_killed_happened_whole_or_not_at_all(rq_harness: RqHarness, seconds: float) -> None:
    bus, settings = await rq_harness.rq(), rq_harness.settings
    await bus.register([SUB])
    argv = [sys.executable, "-m", "tests.storage.rq.process", settings.url, settings.name]
    child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert child.stdout
    async with asyncio.timeout(60):
        await child.stdout.readline()
    await asyncio.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    said = len((await child.stdout.read()).split()) + 1
    await child.wait()
    checkpoint = await bus.checkpoints.checkpoint(KEY)
    assert checkpoint is not None
    assert checkpoint.number - said in {0, 1}, "the last one was maybe made and not said"
    assert len(await bus.checkpoints.inventory(KEY)) == checkpoint.number * BATCH
    (status,) = await bus.subscriptions()
    assert status.pending == checkpoint.number * BATCH
    with Redis.from_url(settings.url) as client:
        owed: Any = client.zrange(f"{settings.prefix}:owed:1", 0, -1)
        found = Job.fetch_many([id_.decode() for id_ in owed], connection=client, serializer=JSONSerializer)
    sent = [Event.decode(job.args[1].encode()) for job in found if job]
    assert [int(e.sequence) for e in sent] == [*range(checkpoint.number * BATCH)]


@pytest.mark.long
async def test_a_worker_killed_in_a_job_is_found_within_its_ack_wait(shop: Workshop) -> None:
    shop.rewrite("ackWait: 30s", f"ackWait: {ACK_WAIT:g}s")
    await shop.behave(delay=60, seconds=60)
    await shop.leader.commit(*events([1, 2, 3]))
    dying = shop.work()
    await shop.until(lambda: shop.received, 30, "the first attempt")
    other = shop.work()
    await other.wait_for('"bus"')
    await shop.behave()
    died = await dying.kill()
    await shop.until(lambda: len(shop.accepted) >= 4, 30, "all events")
    took = shop.received[1].at - died
    print(f"found after {took:.1f} s")
    assert took < ACK_WAIT + 2, took
    assert shop.accepted == [event(1).id, *(event(n).id for n in (1, 2, 3))], "the receiver has the first one twice"


async def test_a_worker_that_is_told_to_stop_leaves_its_events_to_others_at_once(shop: Workshop) -> None:
    await shop.behave(delay=60, seconds=60)
    await shop.leader.commit(*events([1, 2]), event(3, "b"))
    stopping = shop.work()
    await shop.until(lambda: len(shop.received) == 2, 30, "two attempts")
    await shop.behave()
    await stopping.stop()
    begun = time.monotonic()
    async with Receiver.of(shop.bus, SUBSCRIPTION, prefetch=2) as receiver:
        assert sorted(await receiver.acked(3)) == sorted(e.id for e in (*events([1, 2]), event(3, "b")))
    assert time.monotonic() - begun < 5, "it did not wait for the claims of 30 s"


async def test_a_killed_redis_keeps_what_it_confirmed(own: RqHarness, server: RedisServer) -> None:
    bus = await own.rq()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(*events([1, 2]))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        await delivery.start()
        await lose_tail(bus, server, None)
        await delivery.ack()
        await leader.commit(event(3))
        assert await receiver.acked(2) == [event(2).id, event(3).id]


@pytest.mark.parametrize("objects", [100, 1])
async def test_a_hundred_events_are_one_round_trip(own: RqHarness, server: RedisServer, objects: int) -> None:
    async with Proxy(server.port) as proxy:
        bus = await own.rq(replace(own.settings, url=f"redis://127.0.0.1:{proxy.port}/0"))
        await bus.register([SUB])
        leader = await Leader.take(bus)
        await leader.commit(event(0))  # Redis has the script now
        clock = asyncio.get_running_loop().time
        async with proxy.delaying(LATE):
            begun = clock()
            await leader.commit(*(event(n, f"object-{n % objects}") for n in range(1, 101)))
            assert LATE <= clock() - begun < 2 * LATE


async def test_queue_and_checkpoint_come_back_older_together(own: RqHarness, server: RedisServer) -> None:
    bus = await own.rq()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    mark = server.file.stat().st_size
    await leader.commit(event(2), event(3))
    await lose_tail(bus, server, mark)
    with pytest.raises(CommitMismatch):
        await leader.send(leader.batch([event(4)]))
    again = await Leader.take(bus)
    assert again.number == 1
    (status,) = await bus.subscriptions()
    assert status.pending == 1
    await again.commit(event(2), event(3))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(3) == [event(n).id for n in (1, 2, 3)]


async def test_a_subscription_that_redis_lost_is_registered_again(own: RqHarness, server: RedisServer) -> None:
    bus = await own.rq()
    mark = server.file.stat().st_size
    await bus.register([SUB])
    await lose_tail(bus, server, mark)
    leader = await Leader.take(bus)
    async with raises(NoSubscription):
        await leader.commit(event(1))
    await leader.commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(1).id]


@pytest.mark.parametrize("key", ["subscription:1", "subscriptions"])
async def test_a_record_of_a_subscription_that_is_gone_is_made_again(key: str, rq_harness: RqHarness) -> None:
    """It is still owed what it was."""
    bus = await rq_harness.rq()
    await bus.register([SPEC])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    async with Receiver.of(bus, SUBSCRIPTION) as receiver:
        assert await receiver.acked(1) == [event(1).id]
        await bus._connection.keyed("DEL", key)

        async def committed() -> bool:
            try:
                await leader.commit(event(3))
            except NoSubscription:
                return False
            return True

        await until(committed)
        assert await receiver.acked(2) == [event(2).id, event(3).id]
        await receiver.nothing()
    (status,) = await bus.subscriptions()
    assert (status.pending, status.gone) == (0, 0)


async def test_an_ack_that_went_with_the_tail_is_delivered_again(own: RqHarness, server: RedisServer) -> None:
    bus = await own.rq()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    async with Receiver.of(bus, NAME) as receiver:
        await leader.commit(event(1))
        delivery = await receiver.next()
        mark = server.file.stat().st_size
        await delivery.ack()
        await lose_tail(bus, server, mark)
        assert (await receiver.next()).event.id == event(1).id


async def test_a_claim_that_went_with_the_tail_is_lost(own: RqHarness, server: RedisServer) -> None:
    """Its job id may come again, for another event: that one must not be acked."""
    bus = await own.rq()
    await bus.register([SUB])
    mark = server.file.stat().st_size
    leader = await Leader.take(bus)
    await leader.commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        await lose_tail(bus, server, mark)
        leader = await Leader.take(bus)
        await leader.commit(event(2))
        async with raises(ClaimLost):
            await delivery.ack()
        assert (await receiver.next()).event.id == event(2).id


async def test_the_clock_of_redis_may_go_back(own: RqHarness, server: RedisServer) -> None:
    """RQ orders what waits in a lane by seconds: a later event must not have fewer of them."""
    bus = await own.rq()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(event(1), event(2))
    with Redis.from_url(server.url) as client:
        client.hset(f"{own.settings.prefix}:meta", "stamp", int(time.time()) + 3600)  # as a clock that was ahead
    await leader.commit(event(3))
    with Redis.from_url(server.url) as client:
        client.hset(f"{own.settings.prefix}:meta", "seq", 2**40)
    await leader.commit(event(4))
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(4) == [event(n).id for n in (1, 2, 3, 4)]


async def test_what_people_delete_in_rq_is_not_owed_for_ever(rq_harness: RqHarness, client: Redis) -> None:
    bus = await rq_harness.rq()
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(*(event(n, f"object-{n}") for n in range(5)))
    ids: Any = client.zrange(f"{rq_harness.settings.prefix}:owed:1", 0, 1)
    Job.fetch(ids[0].decode(), connection=client, serializer=JSONSerializer).delete()
    Job.fetch(ids[1].decode(), connection=client, serializer=JSONSerializer).cancel()
    await bus.housekeeping.tidy()
    (status,) = await bus.subscriptions()
    assert (status.pending, status.gone) == (3, 1), "what was canceled is gone on purpose"
    async with Receiver.of(bus, NAME, prefetch=3) as receiver:
        assert Counter(await receiver.acked(3)) == Counter(event(n, f"object-{n}").id for n in (2, 3, 4))


async def lose_tail(bus: RqBus, server: RedisServer, mark: int | None) -> None:
    """Kill Redis and start it without what it wrote since the mark, as after a power failure; None: with all of it."""
    server.kill()
    if mark is not None:
        with server.file.open("r+b") as tail:
            tail.truncate(mark)
    server.start()

    async def answers() -> bool:
        with suppress(Unavailable):  # of the connection to the server that was
            await bus.subscriptions()
            return True
        return False

    await until(answers)
