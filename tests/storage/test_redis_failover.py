"""A bus whose server is replaced by another."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost, CommitMismatch, NoSubscription
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis_server import client, wire
from kubecdc.storage.redis_server.url import Address
from kubecdc.storage.testing.actors import DEADLINE, KEY, SOURCE, SUBJECT, Leader, Receiver, event, pending, until
from tests.harness.proxy import Proxy
from tests.ports import free_port
from tests.storage import redis_server
from tests.storage.conftest import RedisHarness
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import PRIMARY, RedisCluster, RedisWithSentinel, call, catch_up, follows, running

NAME = "billing"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)
PARTITIONS = 4


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisBus]:
    harness = RedisHarness(RedisSettings(url, partitions=PARTITIONS))
    try:
        yield await harness.redis()
    finally:
        for bus in harness.opened:
            await bus.close()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[RedisWithSentinel]:
    redis_server.require()
    with running(RedisWithSentinel(tmp_path)) as servers:
        yield servers


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Three primaries, and a replica of the one that has the slot of the bus."""
    redis_server.require()
    with running(RedisCluster(tmp_path, primaries=3, replicas=1)) as cluster:
        yield cluster


async def capture(leader: Leader, count: int) -> None:
    """Commit events one after the other, up to that number. Repeats each until it is done, as a watcher does."""
    async with asyncio.timeout(2 * DEADLINE):
        batch, astray = None, False
        while leader.number < count:
            try:
                if astray:
                    leader.number = (await leader.bus.checkpoints.acquire(KEY, leader.term)).number
                    batch, astray = None, False
                batch = batch or leader.batch([event(leader.number, f"o-{leader.number % 5}")])
                await leader.send(batch)
                leader.number, batch = leader.number + 1, None
            except CommitMismatch:
                astray = True
            except Unavailable:
                await asyncio.sleep(0.05)


async def persist(settle: Callable[[], object]) -> None:
    while True:
        with suppress(Unavailable):
            await settle()  # type: ignore[misc]
            return
        await asyncio.sleep(0.05)


@asynccontextmanager
async def working(bus: RedisBus) -> AsyncIterator[list[str]]:
    """The ids of the events that a worker received and settles."""
    got: list[str] = []

    async def work() -> None:
        async for delivery in bus.subscription(NAME, prefetch=10).deliveries():
            got.append(delivery.event.id)
            with suppress(ClaimLost):
                await persist(delivery.ack)

    task = asyncio.create_task(work())
    try:
        yield got
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_delivered(bus: RedisBus, got: list[str], count: int) -> None:
    """Every event was delivered, those of an object in order, and nothing is pending."""

    async def settled() -> bool:
        with suppress(Unavailable):
            return len(set(got)) == count and await pending(bus, NAME) == 0
        return False

    await until(settled)
    for lane in range(5):
        first_receipts = list(dict.fromkeys(id_ for id_ in got if f".uid-o-{lane}." in id_))
        assert first_receipts == [event(number, f"o-{lane}").id for number in range(lane, count, 5)]


async def test_a_replica_that_lagged_and_was_promoted_is_noticed(servers: RedisWithSentinel) -> None:
    async with opened(servers.url) as bus:
        await bus.register([SUB])
        leader = await Leader.take(bus)
        await capture(leader, 10)
        async with working(bus) as got:
            await until(lambda: _equal(len(got), 10))
            catch_up(servers.replica, servers.primary)
            call(servers.replica, "REPLICAOF", "127.0.0.1", free_port())  # from here on it gets nothing
            await capture(leader, 20)
            await until(lambda: _equal(len(got), 20))
            servers.primary.kill()
            batch = leader.batch([event(20, "o-0")])
            async with asyncio.timeout(DEADLINE):
                while True:
                    try:
                        await leader.send(batch)
                        raise AssertionError("it was committed behind what is not there")
                    except CommitMismatch:
                        break
                    except Unavailable:
                        await asyncio.sleep(0.05)
            checkpoint = await bus.checkpoints.acquire(KEY, leader.term)
            assert checkpoint.number == 10, "events and checkpoint are both as the replica had them"
            leader.number = checkpoint.number
            await capture(leader, 30)
            await all_delivered(bus, got, 30)
    assert servers.named() == servers.replica.port


async def test_a_subscription_that_the_promoted_replica_never_heard_of_is_registered_again(
    servers: RedisWithSentinel,
) -> None:
    async with opened(servers.url) as bus:
        catch_up(servers.replica, servers.primary)
        call(servers.replica, "REPLICAOF", "127.0.0.1", free_port())  # from here on it gets nothing
        await bus.register([SUB])
        leader = await Leader.take(bus)
        await capture(leader, 10)
        async with working(bus) as got:
            await until(lambda: _equal(len(got), 10))
            servers.primary.kill()
            await capture(leader, 20)
            await all_delivered(bus, got, 20)


async def test_a_bus_that_was_emptied_is_made_again_and_what_was_pruned_stays_away(tmp_path: Path) -> None:
    redis_server.require()
    server = RedisServer(tmp_path)
    try:
        await asyncio.to_thread(server.start)
        async with opened(server.url) as bus, opened(server.url) as operator:
            await bus.register([SUB])
            leader = await Leader.take(bus)
            async with working(bus) as got:
                await capture(leader, 5)
                call(server, "FLUSHALL")
                await capture(leader, 10)
                await all_delivered(bus, got, 10)
            await operator.prune(NAME)
            for _ in range(2):
                with pytest.raises(NoSubscription):
                    await leader.commit(event(10))
            assert await bus.subscriptions() == []
    finally:
        server.kill()


async def test_a_primary_that_hangs_is_a_pause(servers: RedisWithSentinel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections stay open, so that only deadlines end them. When it goes on, it is not the primary any more."""
    monkeypatch.setattr(client, "DEADLINE", 3.0)  # seconds, above what a blocking read waits
    async with opened(servers.url) as bus:
        await bus.register([SUB])
        leader = await Leader.take(bus)
        async with working(bus) as got:
            await capture(leader, 10)
            catch_up(servers.replica, servers.primary)
            servers.primary.signal(signal.SIGSTOP)
            try:
                await capture(leader, 20)
                await all_delivered(bus, got, 20)
            finally:
                servers.primary.signal(signal.SIGCONT)
            await capture(leader, 30)
            await all_delivered(bus, got, 30)
    assert servers.named() == servers.replica.port


async def test_a_primary_that_hands_over_is_a_pause(servers: RedisWithSentinel) -> None:
    async with opened(servers.url) as bus:
        await bus.register([SUB])
        leader = await Leader.take(bus)
        async with working(bus) as got:
            await capture(leader, 10)
            catch_up(servers.replica, servers.primary)
            call(servers.sentinel, "SENTINEL", "FAILOVER", PRIMARY)
            await capture(leader, 40)
            await until(lambda: _equal(servers.named(), servers.replica.port))
            await until(lambda: _equal(follows(servers.primary), True))  # from here on it takes no writes
            await capture(leader, 50)
            await all_delivered(bus, got, 50)
    assert call(servers.replica, "HGET", f"{{kubecdc:default}}:checkpoint:{KEY}", "number") == "50"


async def test_a_primary_of_a_cluster_that_dies_is_a_pause(cluster: RedisCluster) -> None:
    primary = cluster.owner("kubecdc:default")
    async with opened(cluster.through([node for node in cluster.nodes[:3] if node is not primary])) as bus:
        await bus.register([SUB])
        leader = await Leader.take(bus)
        async with working(bus) as got:
            await capture(leader, 10)
            catch_up(cluster.nodes[3], primary)
            primary.kill()
            await capture(leader, 20)
            await all_delivered(bus, got, 20)
    assert cluster.owner("kubecdc:default") is cluster.nodes[3]


async def test_a_slot_that_moves_to_another_node_is_a_pause(shared_cluster: RedisCluster) -> None:
    """The bus must not be used on both nodes: what a script does not find on one may be on the other."""
    tag = "kubecdc:moving"
    source, target = shared_cluster.owner(tag), shared_cluster.nodes[0]
    slot = call(source, "CLUSTER", "KEYSLOT", tag)
    if source is target:
        target = shared_cluster.nodes[1]
    harness = RedisHarness(RedisSettings(shared_cluster.url, name="moving", partitions=PARTITIONS))
    bus = await harness.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    async with working(bus) as got:
        await capture(leader, 10)
        call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", shared_cluster.id(source))
        call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", shared_cluster.id(target))
        batch = leader.batch([event(10, "o-0")])
        with pytest.raises(Unavailable, match="is moving the slot"):
            await leader.send(batch)
        keys = call(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
        for key in keys:
            call(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
            with pytest.raises(Unavailable, match="is moving the slot"):
                await leader.send(batch)
        for node in (target, source, *shared_cluster.nodes):
            call(node, "CLUSTER", "SETSLOT", slot, "NODE", shared_cluster.id(target))
        await persist(lambda: leader.send(batch))  # the connection to the old node may be closed under it
        leader.number += 1
        await capture(leader, 20)
        await all_delivered(bus, got, 20)
    await bus.close()
    assert call(source, "CLUSTER", "COUNTKEYSINSLOT", slot) == 0
    assert call(target, "CLUSTER", "COUNTKEYSINSLOT", slot) > 10


@asynccontextmanager
async def behind(kind: str, folder: Path, proxy: Proxy) -> AsyncIterator[tuple[RedisServer, str]]:
    """A Redis behind the proxy in each topology, and its URL."""
    servers: RedisServer | RedisWithSentinel | RedisCluster
    match kind:
        case "server":
            servers = server = RedisServer(folder)
            url = f"redis://127.0.0.1:{proxy.port}/0"
        case "cluster":
            servers = RedisCluster(folder)
            (server,) = servers.nodes
            server.options = (*server.options, "--cluster-announce-port", str(proxy.port))
            url = servers.url
        case _:
            servers = RedisWithSentinel(folder, announced=Address("127.0.0.1", proxy.port))
            server = servers.primary
    proxy.server_port = server.port
    try:
        await asyncio.to_thread(servers.start)
        yield server, servers.url if isinstance(servers, RedisWithSentinel) else url
    finally:
        servers.kill()


@pytest.mark.parametrize("kind", ["server", "cluster", "sentinel"])
async def test_a_reply_that_is_lost_runs_no_script_twice_unseen(kind: str, tmp_path: Path) -> None:
    redis_server.require()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(0))
        server, url = await stack.enter_async_context(behind(kind, tmp_path, proxy))
        bus = await stack.enter_async_context(opened(url))
        await bus.register([SUB])
        leader = await Leader.take(bus)
        await leader.commit(event(0))
        before = _runs(await asyncio.to_thread(call, server, "INFO", "commandstats"))
        batch = leader.batch([event(1)])
        async with proxy.dropping():
            with pytest.raises(Unavailable):
                await leader.send(batch)
        after = _runs(await asyncio.to_thread(call, server, "INFO", "commandstats"))
        assert after - before == 1, "it ran once, and its reply is what was lost"
        await leader.send(batch)
        leader.number += 1
        await leader.commit(event(2))
        async with Receiver.of(bus, NAME) as receiver:
            assert await receiver.acked(3) == [event(number).id for number in range(3)]
            await receiver.nothing()


async def test_a_name_that_leads_to_another_primary_is_followed(tmp_path: Path) -> None:
    """As behind a Service: connections stay with the old server, now a replica, until they are closed."""
    redis_server.require()
    servers = RedisWithSentinel(tmp_path)
    try:
        await asyncio.to_thread(servers.start)
        async with Proxy(servers.primary.port) as proxy, opened(f"redis://127.0.0.1:{proxy.port}/0") as bus:
            await bus.register([SUB])
            leader = await Leader.take(bus)
            await capture(leader, 5)
            catch_up(servers.replica, servers.primary)
            call(servers.replica, "REPLICAOF", "NO", "ONE")
            call(servers.primary, "REPLICAOF", "127.0.0.1", servers.replica.port)
            proxy.server_port = servers.replica.port
            batch = leader.batch([event(5, "o-0")])
            with pytest.raises(Unavailable, match="is a replica and takes no writes"):
                await leader.send(batch)
            await leader.send(batch)
            leader.number += 1
            async with working(bus) as got:
                await capture(leader, 10)
                await all_delivered(bus, got, 10)
    finally:
        servers.kill()


async def test_a_connection_that_hangs_is_left_once_somebody_gives_up(
    redis_harness: RedisHarness, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewing a lead and finding a server have shorter deadlines than a command."""
    monkeypatch.setattr(wire, "SILENCE", 0.05)
    async with Proxy(shared_redis.port) as proxy:
        settings = replace(redis_harness.settings, url=f"redis://127.0.0.1:{proxy.port}/0")
        bus = await redis_harness.redis(settings)
        async with proxy.hanging(new=False):
            patient = asyncio.create_task(bus.checkpoints.checkpoints())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await bus.checkpoints.checkpoint(KEY)
            with pytest.raises(Unavailable):
                await patient
            assert await bus.checkpoints.checkpoints() == []
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await bus.checkpoints.checkpoint(KEY)
            assert (await Leader.take(bus)).number == 0


def _runs(stats: dict[str, dict[str, int]]) -> int:
    """The number of scripts that ran."""
    return sum(int(stats[name]["calls"]) for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)


async def _equal(left: object, right: object) -> bool:
    return left == right
