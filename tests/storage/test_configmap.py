"""What is special about a ConfigMap: delayed writes, its size, and that it may be deleted or restored."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest
import structlog

from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.storage.configmap.document import pack
from kubecdc.storage.configmap.store import ConfigMapCheckpoints, ConfigMapSettings
from kubecdc.storage.contracts import CheckpointDelta, CheckpointStore, EntryState, Gap, Inventoried, Term
from kubecdc.storage.contracts.errors import CommitMismatch, LeadershipLost
from kubecdc.storage.testing.actors import KEY, Keeper, state, step
from tests.apiserver import CONFIGMAPS, LocalSimulator, RealApiServer, simulator
from tests.storage.fake_config_map import FakeClock, FakeConfigMaps
from tests.storage.stores import ConfigMapStores

KNOWN = Inventoried("7", "default", "a", True)


@pytest.fixture
def server() -> FakeConfigMaps:
    return FakeConfigMaps()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def opened(
    server: FakeConfigMaps, clock: FakeClock, settings: ConfigMapSettings | None = None
) -> AsyncIterator[ConfigMapCheckpoints]:
    """The checkpoints of a process; what waits is written at the end."""
    made = ConfigMapCheckpoints(server, settings or ConfigMapSettings(), now=clock.now, sleep=clock.sleep)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def store(server: FakeConfigMaps, clock: FakeClock) -> AsyncIterator[ConfigMapCheckpoints]:
    async with opened(server, clock) as made:
        yield made


@asynccontextmanager
async def another(server: FakeConfigMaps, clock: FakeClock) -> AsyncIterator[ConfigMapCheckpoints]:
    """Another process on the same ConfigMap."""
    async with opened(server, clock) as made:
        yield made


async def started(store: CheckpointStore) -> Keeper:
    """A leader after its first commit, which is written at once."""
    keeper = await Keeper.take(store)
    await keeper.save()
    return keeper


async def number(server: FakeConfigMaps, clock: FakeClock) -> int:
    """The number of the last commit that other processes can see."""
    async with another(server, clock) as other:
        found = await other.checkpoint(KEY)
    assert found is not None
    return found.number


async def test_steps_are_written_once_a_second_and_the_last_one_too(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)
    before = server.writes
    for _ in range(300):
        await keeper.save()
        await clock.move(0.01)
    assert server.writes - before in {2, 3}
    assert await number(server, clock) < keeper.number
    await clock.move(1.0)
    assert server.writes - before in {3, 4}
    assert await number(server, clock) == keeper.number
    await clock.move(1000.0)
    assert server.writes - before in {3, 4}, "nothing is written while nothing changes"


async def test_a_watch_that_writes_at_once_does_not_take_busy_ones_for_another_process(
    store: ConfigMapCheckpoints, server: FakeConfigMaps
) -> None:
    one, *others = [await Keeper.take(store, key=f"entry/{at}") for at in range(4)]
    for keeper in others:
        await keeper.save()  # the first is written at once

    async def busy(keeper: Keeper) -> None:
        while True:
            await keeper.save()  # may wait for the next write
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        working = [group.create_task(busy(keeper)) for keeper in others]
        for number in range(20):
            before = server.writes
            await one.send(CheckpointDelta(follows=number, state=state(number, listing=f"reason {number}")))
            assert server.writes - before <= 2, "one that was under way, and its own"
        for task in working:
            task.cancel()


async def test_namespaces_that_came_and_went_take_no_room(server: FakeConfigMaps, clock: FakeClock) -> None:
    """Thousands of them, twenty at a time, each with objects and every tenth with a gap. The limit is that of forty."""
    entry, objects, at_a_time, thousands = "workflows/changed", 10, 20, 2000
    settings = ConfigMapSettings(limit=24 << 10)

    def inventory(namespace: str) -> dict[str, Inventoried]:
        rng = random.Random(namespace)
        return {
            str(uuid.UUID(int=rng.getrandbits(128))): Inventoried(str(n), namespace, f"wf-{n}", True)
            for n in range(objects)
        }

    async def come_and_go(store: ConfigMapCheckpoints, first: int) -> None:
        keepers = [await Keeper.take(store, key=f"{entry}/pr-{number}") for number in range(first, first + at_a_time)]
        for number, keeper in enumerate(keepers):
            gap = Gap("history expired", "5", "9", f"at {first + number:09}", 1) if number % 10 == 0 else None
            await keeper.save(upserts=inventory(keeper.key), gap=gap)
        await clock.move(1.0)
        for keeper in keepers:
            await store.remove(keeper.key, entry=entry, term=keeper.term)

    async with opened(server, clock, settings) as store:
        await store.save_entry(entry, EntryState(started=state(1).started), term=Term(1, "keeper-1"))
        stays = await Keeper.take(store, key=f"{entry}/stays")
        await stays.save(upserts=inventory("stays"))
        await come_and_go(store, 0)
        for first in range(at_a_time, 6 * at_a_time, at_a_time):  # then the entry has all the gaps that it keeps
            await come_and_go(store, first)
        taken = len(msgspec.json.encode(server.document))
        for first in range(6 * at_a_time, thousands, at_a_time):
            await come_and_go(store, first)
        assert [c.key for c in await store.checkpoints()] == [entry, stays.key]
        assert len(await store.gaps(entry)) == 10
        assert server.document
        assert len(server.document["binaryData"]) == 1, "the inventory of what stays"
        table = msgspec.json.decode(server.document["data"]["checkpoints"])
        assert [row["key"] for row in table["checkpoints"]] == [stays.key, entry]
        assert [*table["entries"]] == [entry]
        assert len(msgspec.json.encode(server.document)) <= taken + 100
        assert store._budget._parts.keys() <= {stays.key, entry}, "nor is anything kept in memory"
    async with another(server, clock) as other:
        assert await other.inventory(stays.key) == inventory("stays")


async def test_watches_whose_changes_are_due_together_share_one_write(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keepers = [await Keeper.take(store, key=f"entry/{at}") for at in range(5)]
    for keeper in keepers:
        await keeper.save()
    await keepers[0].save()
    before = server.writes
    await clock.move(0.999)
    clock.time += 0.001  # due, and the timer has not noticed yet
    await asyncio.gather(*(keeper.save() for keeper in keepers))
    await asyncio.gather(*(keeper.intend(step(keeper.number, upserts={"uid-a": KNOWN})) for keeper in keepers))
    assert server.writes - before == 1


@pytest.mark.parametrize(
    "changed",
    [
        step(0).state,
        state(3, listing="history expired"),
        msgspec.structs.replace(state(3), timeline=1),
        msgspec.structs.replace(state(3), selection=msgspec.structs.replace(state(3).selection, labels="a=b")),
    ],
)
async def test_what_must_be_there_before_what_follows_is_written_at_once(
    changed: object, store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await Keeper.take(store)
    delta = step(keeper.number)
    if changed != delta.state:  # the first commit itself is one of them
        await keeper.save()
        await keeper.save()
        delta = with_state(step(keeper.number), changed)
    await keeper.send(delta)
    assert await number(server, clock) == delta.follows + 1


def with_state(delta: CheckpointDelta, changed: object) -> CheckpointDelta:
    assert isinstance(changed, type(delta.state))
    return CheckpointDelta(follows=delta.follows, state=changed)


async def test_a_gap_is_written_at_once_and_the_last_ten_are_kept(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)
    gaps = [Gap("history expired", str(at), str(at + 1), "2026-01-01T00:00:00Z", at) for at in range(15)]
    for gap in gaps:
        await keeper.save(gap=gap)
    async with another(server, clock) as other:
        assert await other.gaps(KEY) == gaps[-10:]


async def test_a_hand_over_writes_what_waits(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)
    await keeper.save(upserts={"uid-a": KNOWN})
    assert await number(server, clock) < keeper.number
    await store.flush()
    async with another(server, clock) as other:
        assert (await Keeper.take(other, term=2)).number == keeper.number
        assert await other.inventory(KEY) == {"uid-a": KNOWN}
    writes = server.writes
    await store.close()
    assert server.writes == writes


async def test_an_operator_sees_the_leaders_checkpoint_and_the_end_of_the_process_writes(
    server: FakeConfigMaps, clock: FakeClock
) -> None:
    async with another(server, clock) as store:
        keeper = await started(store)
        await keeper.save()
    assert await number(server, clock) == keeper.number


async def test_while_the_api_is_away_nothing_goes_on_for_longer_than_the_window(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)
    with away(server):
        await keeper.intend(step(keeper.number, upserts={"uid-a": KNOWN}))
        delta = await keeper.save(upserts={"uid-a": KNOWN})
        await clock.move(1.0)
        following = step(keeper.number, upserts={"uid-b": KNOWN})
        for attempt in (lambda: keeper.send(delta), lambda: keeper.intend(following), lambda: keeper.send(following)):
            with pytest.raises(Unavailable):
                await attempt()
        await clock.move(60.0)
    await keeper.send(following)
    keeper.number += 1
    await clock.move(10.0)
    assert await number(server, clock) == keeper.number
    await keeper.save()


@contextmanager
def away(server: FakeConfigMaps) -> Iterator[None]:
    """All requests fail."""

    def refuse() -> None:
        raise Unavailable("no answer in time")

    server.before = refuse
    yield
    server.before = lambda: None


async def test_an_own_write_whose_reply_was_lost_is_no_other_leader(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)

    def lose() -> None:
        server.after = lambda: None
        raise Unavailable("no answer in time")

    for _ in range(3):
        await keeper.save(upserts={"uid-a": KNOWN})
        server.after = lose
        with pytest.raises(Unavailable):
            await store.flush()
        await keeper.save()
        await store.flush()
    assert await number(server, clock) == keeper.number


async def test_a_leader_that_slept_finds_out_before_it_publishes(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    old = await started(store)
    await clock.move(30.0)
    async with another(server, clock) as other:
        new = await Keeper.take(other, term=2)
        assert new.number == old.number
        with pytest.raises(LeadershipLost):
            await old.intend(step(old.number, upserts={"uid-a": KNOWN}))
        with pytest.raises(LeadershipLost):
            await old.save()
        await new.save()
        assert await other.inventory(KEY) == {}


async def test_a_leader_that_leads_again_goes_on_from_what_another_made_of_a_checkpoint(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    """The other one removed it, as of a namespace that is left, and began it anew: its number is lower than before."""
    old = await started(store)
    for _ in range(3):
        await old.save()
    await store.flush()
    async with another(server, clock) as other:
        new = await Keeper.take(other, term=2)
        await clock.move(5.0)
        found = await store.checkpoint(KEY)  # it has read what the other one has
        assert found is not None
        assert (found.term, found.number) == (2, old.number)
        await other.remove(KEY, entry="entry", term=Term(2, "other"))
        new = await Keeper.take(other, term=2)
        await new.save(upserts={"uid-a": KNOWN})
    with structlog.testing.capture_logs() as logs:
        again = await Keeper.take(store, term=3)
    assert (again.number, await store.inventory(KEY)) == (new.number, {"uid-a": KNOWN})
    assert logs == []
    await again.save()


async def test_what_an_operator_moves_is_not_written_over(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)
    await keeper.save(upserts={"uid-a": KNOWN})  # waits
    async with another(server, clock) as operator:
        (found,) = await operator.checkpoints()
        moved = CheckpointDelta(follows=found.number, state=state(77))
        await operator.save(KEY, moved, term=Term(found.term, "operator"))
    assert found.number + 1 == keeper.number, "the same number, and another step"
    await clock.move(1.0)
    with pytest.raises(CommitMismatch):
        await keeper.save()
    again = await Keeper.take(store)
    assert ((await store.checkpoints())[0].state, await store.inventory(KEY)) == (state(77), {})
    await again.save()


async def test_an_operator_is_told_when_the_leader_was_faster(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)
    async with another(server, clock) as operator:
        (found,) = await operator.checkpoints()
        await keeper.save()
        await store.flush()
        with pytest.raises(CommitMismatch):
            await operator.save(KEY, step(found.number), term=Term(found.term, "operator"))
    assert await number(server, clock) == keeper.number


async def test_what_does_not_fit_is_refused_before_anything_is_published(
    server: FakeConfigMaps, clock: FakeClock
) -> None:
    settings = ConfigMapSettings(limit=20 << 10)
    rng = random.Random(1)
    with structlog.testing.capture_logs() as logs:
        async with opened(server, clock, settings) as store:
            keeper, other = await started(store), await Keeper.take(store, key="small")
            with pytest.raises(Refused, match=r"the checkpoints of \d{3} objects take 2\d KiB") as refused:
                while True:
                    delta = step(keeper.number, upserts=objects(rng, 20))
                    if await keeper.intend(delta):
                        await keeper.send(delta)
                        keeper.number += 1
            known = await store.inventory(KEY)
            assert not set(delta.upserts) & set(known)
            assert len(known) > 300
            assert "may take 20 KiB" in str(refused.value)
            assert "`redis` or `sqlite`" in refused.value.hint
            await other.save(removals=frozenset({"never-was"}))  # what needs no room goes on
            await keeper.save(removals=frozenset(list(known)[:100]))
            await keeper.send(step(keeper.number, upserts=objects(rng, 20)))
    assert [line["event"] for line in logs] == ["the checkpoints will soon not fit into their ConfigMap"]
    assert server.document is not None
    assert len(msgspec.json.encode(server.document)) < (20 << 10) * 4 / 3 + 2000


def objects(rng: random.Random, count: int) -> dict[str, Inventoried]:
    """Objects as a cluster has them."""
    return {
        str(uuid.UUID(int=rng.getrandbits(128), version=4)): Inventoried(
            str(rng.randrange(10**8)), f"team-{rng.randrange(20)}", f"nightly-build-{rng.getrandbits(25):05x}", True
        )
        for _ in range(count)
    }


def test_the_documented_number_of_objects_fits() -> None:
    parts = pack(KEY, objects(random.Random(1), 30_000), {})
    assert sum(map(len, parts.values())) < 900 << 10


async def test_a_large_inventory_is_compressed_beside_the_event_loop(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    keeper = await started(store)
    known = objects(random.Random(1), 5000)
    await keeper.save(upserts=known)
    await store.flush()
    async with another(server, clock) as other:
        assert await other.inventory(KEY) == known


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ({"app.properties": "a=b"}, Refused, "does not hold checkpoints"),
        ({"checkpoints": "{"}, Refused, "is damaged"),
        ({"checkpoints": '{"format": 2, "of": "tomorrow"}'}, UsageError, "has format 2, this kubecdc knows 1"),
    ],
)
async def test_a_configmap_that_is_not_ours_is_left_alone(
    data: dict[str, str], error: type[Exception], match: str, store: ConfigMapCheckpoints, server: FakeConfigMaps
) -> None:
    server.document = {"metadata": {"name": "x", "resourceVersion": "1"}, "data": data}
    for attempt in (store.checkpoints, lambda: Keeper.take(store), lambda: store.reset(KEY)):
        with pytest.raises(error, match=match):
            await attempt()
    assert server.writes == 0


async def test_one_that_was_made_beforehand_is_used_and_keeps_its_labels(
    store: ConfigMapCheckpoints, server: FakeConfigMaps
) -> None:
    server.document = {"metadata": {"name": "x", "resourceVersion": "1", "labels": {"team": "a"}}}
    await Keeper.take(store, term=3)
    metadata = server.document["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"team": "a"}, {"kubecdc.io/epoch": "3"})


async def test_many_watches_start_together(store: ConfigMapCheckpoints, server: FakeConfigMaps) -> None:
    keepers = await asyncio.gather(*(Keeper.take(store, key=f"entry/{at}") for at in range(100)))
    await asyncio.gather(*(keeper.save(upserts={"uid-a": KNOWN}) for keeper in keepers))
    assert len(await store.checkpoints()) == 100
    assert server.writes < 20


# -- on an API server


def on(kubeconfig: Path, stack: AsyncExitStack, **settings: int) -> ConfigMapStores:
    """A ConfigMap of its own."""
    return ConfigMapStores(kubeconfig, f"checkpoint-{uuid.uuid4().hex}", stack, ConfigMapSettings(**settings))  # type: ignore[arg-type]


async def test_one_that_comes_back_older_does_not_move_the_leader(tmp_path: Path, stack: AsyncExitStack) -> None:
    api = await stack.enter_async_context(simulator())
    stores = on(api.kubeconfig(tmp_path / "kubeconfig"), stack)
    store = await stores.store()
    keeper = await started(store)
    snapshot = await api.snapshot()
    await keeper.save(upserts={"uid-a": KNOWN})
    await store.flush()
    await keeper.save(upserts={"uid-b": KNOWN})  # waits
    await api.restore(snapshot)
    with structlog.testing.capture_logs() as logs:
        assert (await Keeper.take(store)).number == keeper.number
        await store.flush()
    assert "is older than it was: this leader writes it again from memory" in logs[0]["event"]
    other = await stores.store("other")
    assert (await Keeper.take(other, term=2)).number == keeper.number
    assert set(await other.inventory(KEY)) == {"uid-a", "uid-b"}


async def test_one_that_is_deleted_is_made_again(
    api: LocalSimulator | RealApiServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    stores = on(api.kubeconfig(tmp_path / "kubeconfig"), stack)
    store = await stores.store()
    keeper = await started(store)
    await keeper.save(upserts={"uid-a": KNOWN})
    await api.delete(*CONFIGMAPS, "default", stores.name)
    await store.flush()
    other = await stores.store("other")
    assert (await Keeper.take(other, term=2)).number == keeper.number
    assert set(await other.inventory(KEY)) == {"uid-a"}
    with pytest.raises(LeadershipLost):
        await (await Keeper.take(store)).save()


async def test_a_right_that_lacks_is_named_with_the_commands_that_grant_it(
    api: LocalSimulator | RealApiServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    await api.kubeconfig_of(tmp_path / "kubeconfig", "nobody")
    store = await on(tmp_path / "kubeconfig", stack).store()
    with pytest.raises(Unavailable, match=r"forbidden \(403\)") as refused:
        await Keeper.take(store)
    assert "kubectl create role kubecdc-checkpoint -n default --verb=get,create,update" in refused.value.hint
    assert "--resource=configmaps`" in refused.value.hint


@pytest.mark.parametrize("size", [1_700_000, 2_500_000])  # too much for etcd, and for the API server itself
async def test_what_the_api_server_finds_too_large_is_refused(
    size: int, api: LocalSimulator | RealApiServer, tmp_path: Path, stack: AsyncExitStack
) -> None:
    store = await on(api.kubeconfig(tmp_path / "kubeconfig"), stack, limit=8 << 20).store()
    keeper = await started(store)
    rng = random.Random(1)
    some = objects(rng, 1)
    await keeper.save(upserts=some, bodies=dict.fromkeys(some, rng.randbytes(size)))
    with pytest.raises(Refused, match="does not accept the checkpoint"):
        await store.flush()
    await store.reset(KEY)


async def test_the_terms_of_a_config_map_that_an_earlier_version_wrote_fence_all_keys(
    store: ConfigMapCheckpoints, server: FakeConfigMaps, clock: FakeClock
) -> None:
    await (await Keeper.take(store, term=5)).save()
    await store.flush()
    assert server.document is not None
    table = msgspec.json.decode(server.document["data"]["checkpoints"])
    del table["epoch"], table["entries"]
    server.document["data"]["checkpoints"] = msgspec.json.encode(table).decode()
    async with another(server, clock) as other:
        with pytest.raises(LeadershipLost):
            await other.acquire("elsewhere", Term(4, "an old leader"))
        assert (await other.newest_term(), await other.entry("workflows/changed")) == (5, None)
