"""A watcher whose checkpoint is not where its events go, and which dies between the two."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.errors import Refused
from kubecdc.storage.configmap.store import ConfigMapSettings
from kubecdc.storage.contracts import CheckpointDelta, CheckpointStore, Inventoried, Term
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.fault_injection import Crash, Fault, FaultyBus, Script, crash_after, crash_before
from tests.storage.split import SplitBus
from tests.storage.stores import ConfigMapStores
from tests.watcher.namespaces import PROD, namespace, relabel
from tests.watcher.rig import KEY, Rig, told


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CheckpointStore]:
    opened = await open_bus(SqliteSettings(tmp_path / "checkpoints.db"), holder="store")
    yield opened.checkpoints
    await opened.close()


async def crashed_on(fault: Fault, bench: Rig, store: CheckpointStore) -> None:
    """Watch, create "kept", then "gone", and die while that is published."""
    script = Script([None, fault])
    bench.wrap = lambda bus: SplitBus(FaultyBus(bus, commits=script), store)
    await bench.start()
    await bench.watching()
    await bench.create("kept")

    async def published() -> bool:
        (status,) = await (await bench.open()).subscriptions()
        return status.pending == 1

    await bench.until(published)
    await bench.create("gone")
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()


@pytest.mark.parametrize(("fault", "before"), [(crash_after, ["ADD gone"]), (crash_before, [])])
async def test_an_object_that_was_about_to_be_told_is_told_to_be_gone_though_its_history_is(
    fault: Fault, before: list[str], bench: Rig, store: CheckpointStore
) -> None:
    await crashed_on(fault, bench, store)
    await bench.delete("gone")
    await bench.api.expire_history()
    await bench.start()
    assert told(await bench.events()) == ["ADD kept", *before, "~DELETE gone"]


async def test_an_object_that_was_about_to_be_told_is_told_again(bench: Rig, store: CheckpointStore) -> None:
    await crashed_on(crash_after, bench, store)
    await bench.api.expire_history()
    await bench.start()
    assert told(await bench.events()) == ["ADD kept", "ADD gone", "~ADD gone"]


async def test_what_was_published_but_not_saved_is_published_again_under_the_same_id(
    bench: Rig, store: CheckpointStore
) -> None:
    await crashed_on(crash_after, bench, store)
    await bench.update("gone", {"spec": {"changed": True}})
    await bench.start()
    events = await bench.events()
    assert told(events) == ["ADD kept", "ADD gone", "ADD gone", "UPDATE gone"]
    assert events[1].id == events[2].id


@pytest.mark.parametrize("published", [False, True])
async def test_objects_of_a_namespace_that_returns_are_told_again_if_their_ends_were_told_and_not_saved(
    published: bool, bench: Rig, store: CheckpointStore
) -> None:
    await namespace(bench, "one", "prod")
    await bench.create("a", namespace="one")
    bench.wrap = lambda bus: SplitBus(bus, store)
    await bench.start(PROD)
    await bench.until(lambda: watched(store, f"{KEY}/one"))
    assert told(await bench.events(namespace="one")) == ["ADD a"]
    await bench.kill()
    await relabel(bench, "one", None)
    script = Script([crash_after if published else crash_before])
    bench.wrap = lambda bus: SplitBus(FaultyBus(bus, commits=script), store)
    await bench.start(PROD)
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    await relabel(bench, "one", "prod")
    bench.wrap = lambda bus: SplitBus(bus, store)
    await bench.start(PROD)
    assert told(await bench.events(namespace="one")) == [*["~DELETE a"][:published], "~ADD a"]
    await bench.kill()


async def watched(store: CheckpointStore, key: str) -> bool:
    found = [checkpoint for checkpoint in await store.checkpoints() if checkpoint.key == key]
    return bool(found and found[0].state and not found[0].state.listing)


async def test_a_successor_that_was_about_to_be_told_is_no_restore(bench: Rig, store: CheckpointStore) -> None:
    bench.wrap = lambda bus: SplitBus(bus, store)
    await bench.create("a")
    await bench.start()
    await bench.watching()
    await bench.kill()
    await bench.delete("a")
    meta = (await bench.create("a"))["metadata"]
    (checkpoint,) = await store.checkpoints()
    assert checkpoint.state
    new = {meta["uid"]: Inventoried(meta["resourceVersion"], "default", "a", True)}
    delta = CheckpointDelta(follows=checkpoint.number, state=checkpoint.state, upserts=new)
    await store.intend(KEY, delta, term=Term(checkpoint.term, "the one before"))
    await bench.api.expire_history()
    await bench.start()
    events = await bench.events()
    assert told(events) == ["ADD a", "~DELETE a", "~ADD a"]
    assert {event.timeline for event in events} == {0}


@asynccontextmanager
async def configmaps(bench: Rig, settings: ConfigMapSettings) -> AsyncIterator[tuple[CheckpointStore, CheckpointStore]]:
    """The watcher keeps its checkpoint in a ConfigMap of the cluster that it watches. Its store, and another one."""
    async with AsyncExitStack() as stack:
        stores = ConfigMapStores(bench.kubeconfig, "checkpoint", stack, settings)
        store = await stores.store("watcher")
        bench.wrap = lambda bus: SplitBus(bus, store)
        yield store, await stores.store("other")
        await bench.kill()


async def test_a_watcher_that_is_told_to_go_writes_what_waits(bench: Rig) -> None:
    async with configmaps(bench, ConfigMapSettings(window=timedelta(hours=1))) as (store, other):
        await bench.start()
        await bench.watching()
        meta = (await bench.create("a"))["metadata"]
        known = Inventoried(meta["resourceVersion"], "default", "a", True)

        async def saved() -> bool:
            return await store.inventory(KEY) == {meta["uid"]: known}

        await bench.until(saved)
        assert await other.inventory(KEY) == {}
        await bench.kill()
        assert await other.inventory(KEY) == {meta["uid"]: known}
        (checkpoint,) = await other.checkpoints()
        assert checkpoint.state
        assert checkpoint.state.position == known.resource_version


async def test_a_checkpoint_that_does_not_fit_ends_the_watcher_before_it_publishes(bench: Rig) -> None:
    for number in range(30):
        await bench.create(f"object-{number}")
    async with configmaps(bench, ConfigMapSettings(limit=700)):
        await bench.start()
        error = await bench.ended()
        assert isinstance(error, Refused)
        assert "the checkpoints of 30 objects" in str(error)
        (status,) = await (await bench.open()).subscriptions()
        assert status.pending == 0
