"""What is held of objects is bounded in bytes, over all lists and watches of an entry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.objects import OBJECT_BYTES
from kubecdc.cluster.watch_lines import WatchLines
from kubecdc.storage.contracts import Batch
from kubecdc.watcher import entries, watcher
from kubecdc.watcher.capture import chunks, diff, pages
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.memory import Holder, Memory
from tests.apiserver import NAMESPACES
from tests.watcher.rig import SPEC, Rig, event_source, told

LIMIT = 40_000


async def make_namespace(bench: Rig, name: str) -> None:
    await bench.api.create(*NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_finds_no_room_waits_for_its_turn_and_what_is_too_large_is_held_alone() -> None:
    memory, done = Memory(10), list[str]()

    async def take(name: str, size: int) -> None:
        await memory.take(size)
        done.append(name)

    await take("first", 6)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(take("too large", 30))
        await turn()
        tasks.create_task(take("small", 1))
        await turn()
        assert done == ["first"], "the small one would fit, but its turn comes later"
        memory.release(6)
        await turn()
        assert done == ["first", "too large"]
        memory.release(30)
    assert done == ["first", "too large", "small"]
    memory.release(1)
    assert memory.held == 0


async def test_who_gives_up_lets_the_next_have_its_turn() -> None:
    memory = Memory(10)
    await memory.take(6)
    large, small = asyncio.create_task(memory.take(10)), asyncio.create_task(memory.take(4))
    await turn()
    large.cancel()
    await asyncio.wait_for(small, 1)
    assert memory.held == 10
    late = asyncio.create_task(memory.take(10))
    await turn()
    memory.release(10)  # it has its turn, and is cancelled before it knows
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    assert memory.held == 0


async def test_whoever_ends_releases_what_it_held() -> None:
    memory = Memory(10)
    with pytest.raises(OSError), memory.holder() as holder:
        await holder.take(3)
        holder.resize(8)
        await holder.take(2)
        assert memory.held == 10
        raise OSError
    assert memory.held == 0


async def test_what_was_reserved_is_taken_without_waiting_and_the_rest_given_back() -> None:
    memory = Memory(10)
    with memory.holder() as first, memory.holder() as second:
        await first.reserve(8)
        first.reserved(12)
        assert memory.held == 12, "it is there already, so others wait"
        waiting = asyncio.create_task(second.reserve(1))
        for _ in range(2):
            await asyncio.wait_for(first.take(5), 1)
        await turn()
        assert memory.held == 12 and not waiting.done()
        first.reserved(0)
        first.release(10)
        await asyncio.wait_for(waiting, 1)
        assert memory.held == 1
    assert memory.held == 0


async def test_lists_of_all_namespaces_hold_no_more_than_their_entry_may(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small objects come first, so the page that has the large ones is asked for with far too many."""
    monkeypatch.setattr(watcher, "BYTES", LIMIT)
    monkeypatch.setattr(entries, "LEAST_BYTES", LIMIT)
    monkeypatch.setattr(pages, "PAGE_BYTES", LIMIT // 4)
    sizes, most = list[int](), [0]
    namespaces = [f"ns-{n}" for n in range(6)]
    for namespace in namespaces:
        await make_namespace(bench, namespace)
        for n in range(60):
            await bench.create(f"a-{n:02}", namespace, spec={"text": "x"})
        for n in range(5):
            await bench.create(f"b-{n}", namespace, spec={"text": "x" * 3000})
        await bench.create("c", namespace, spec={"text": "x" * 12_000})
    real, take = Cluster.get, Memory.take

    async def get(self: Cluster, path: str, query: Mapping[str, str] | None = None, **how: Any) -> bytes:
        found = await real(self, path, query, **how)
        sizes.append(len(found))
        return found

    async def counted(self: Memory, size: int) -> None:
        await take(self, size)
        if self.limit == LIMIT:
            most[0] = max(most[0], self.held)

    monkeypatch.setattr(Cluster, "get", get)
    monkeypatch.setattr(Memory, "take", counted)
    await bench.start(event_source(namespaces=[*namespaces, "default"]))
    events = await bench.events()
    assert len(events) == len(set(told(events))) * len(namespaces) == 66 * len(namespaces)
    assert max(sizes) < 14_000, "no page but that of the one large object is larger than a page may be"
    # Four pages at a time, each of which may be the large object.
    assert LIMIT // 2 < most[0] <= LIMIT + 4 * (14_000 - LIMIT // 4)


async def test_changes_that_wait_for_their_commit_stop_the_reading(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody subscribes, so no commit is made; what is read meanwhile is one share, however much there is."""
    held = list[int]()
    take = Memory.take

    async def counted(self: Memory, size: int) -> None:
        await take(self, size)
        held.append(self.held)

    monkeypatch.setattr(watcher, "BYTES", LIMIT)
    monkeypatch.setattr(entries, "LEAST_BYTES", LIMIT)
    monkeypatch.setattr(Memory, "take", counted)
    namespaces = [f"ns-{n}" for n in range(8)]
    for namespace in namespaces:
        await make_namespace(bench, namespace)
    await bench.start(event_source(namespaces=[*namespaces, "default"]))
    assert await bench.events() == []
    bus = await bench.open()
    await bus.prune("test/all")
    for n in range(4):
        for namespace in namespaces:
            await bench.create(f"{n}", namespace, spec={"text": "x" * 12_000})

    async def full() -> bool:
        return bool(held) and held[-1] > LIMIT // 2

    await bench.until(full)
    assert max(held) <= LIMIT
    await bus.register([SPEC])
    ids: list[str] = []

    async def all_came() -> bool:  # each namespace commits when it tries again
        ids.extend(event.id for event in await bench.events())
        return len(ids) >= 4 * len(namespaces)

    await bench.until(all_came)
    assert len(ids) == len(set(ids)) == 4 * len(namespaces)


async def test_long_lines_are_read_as_far_as_their_entry_may_hold_them(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody subscribes, so no commit is made; one namespace has room for its object, the others wait in theirs."""
    monkeypatch.setattr(watcher, "BYTES", OBJECT_BYTES)
    size, asked, given, read = 1_400_000, [0], [0], [0]
    real, completed_by = Holder.reserve, WatchLines._completed_by

    async def reserve(self: Holder, size: int) -> None:
        asked[0] += 1
        await real(self, size)
        given[0] += 1

    def counted(self: WatchLines, chunk: bytes) -> list[bytes]:
        read[0] += len(chunk)
        return completed_by(self, chunk)

    namespaces = [f"ns-{n}" for n in range(6)]
    for namespace in namespaces:
        await make_namespace(bench, namespace)
    await bench.start(event_source(namespaces=[*namespaces, "default"]))
    assert await bench.events() == []
    bus = await bench.open()
    await bus.prune("test/all")
    monkeypatch.setattr(Holder, "reserve", reserve)
    monkeypatch.setattr(WatchLines, "_completed_by", counted)
    for namespace in namespaces:
        await bench.create("a", namespace, spec={"text": "x" * size})

    async def all_wait() -> bool:
        return asked[0] == len(namespaces) and read[0] > size

    await bench.until(all_wait)
    assert given == [1]
    assert read[0] < 3 * size, "one line, and the start of each other"
    await bus.register([SPEC])
    assert len(await bench.events()) == len(namespaces)


@pytest.mark.parametrize("inventory", ["versions", "objects"])
async def test_with_hardly_any_room_all_comes_one_after_the_other(
    bench: Rig, monkeypatch: pytest.MonkeyPatch, inventory: str
) -> None:
    """Nobody keeps room that another needs to go on, and none is lost."""
    made: list[Memory] = []
    init = Memory.__init__

    def noted(self: Memory, limit: int = LIMIT) -> None:
        init(self, limit)
        made.append(self)

    monkeypatch.setattr(watcher, "BYTES", 1000)
    monkeypatch.setattr(entries, "LEAST_BYTES", 1000)
    monkeypatch.setattr(Memory, "__init__", noted)
    namespaces = [f"ns-{n}" for n in range(4)]
    for namespace in namespaces:
        await make_namespace(bench, namespace)
    await bench.start(event_source(namespaces=[*namespaces, "default"], inventory=inventory))
    assert await bench.events() == []

    async def all_are_open() -> bool:
        return bench.api.watching > len(namespaces)

    await bench.until(all_are_open)
    sizes = 10, 700_000, 200_000, 2000, 700_000, 300_000

    async def fill(namespace: str) -> None:
        for n, size in enumerate(sizes):
            await bench.create(f"{n}", namespace, spec={"text": "x" * size})
            await bench.update(f"{n}", {"spec": {"text": "y" * sizes[n - 1]}}, namespace)

    await asyncio.gather(*map(fill, namespaces))
    found: list[str] = []

    async def all_came() -> bool:
        found.extend(told(await bench.events()))
        return len(found) >= 2 * len(sizes) * len(namespaces)

    await bench.until(all_came)
    expected = [f"{change} {n}" for n in range(len(sizes)) for change in ("ADD", "UPDATE")]
    assert sorted(found) == sorted(expected * len(namespaces))
    assert [memory.held for memory in made if memory.limit == 1000] == [0]


async def test_objects_whose_bodies_are_kept_end_a_few_at_a_time(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "COMMIT_BYTES", LIMIT)
    for n in range(40):
        await bench.create(f"a-{n:02}", spec={"text": "x" * (100 if n < 10 else LIMIT // 4)})
    kept = event_source(inventory="objects")
    await bench.start(kept)
    assert len(await bench.events()) == 40
    await bench.kill()
    for n in range(40):
        await bench.delete(f"a-{n:02}")
    await bench.api.expire_history()
    read = list[int]()
    real = CheckpointWriter.bodies

    async def bodies(self: CheckpointWriter, uids: Sequence[str]) -> dict[str, bytes]:
        found = await real(self, uids)
        read.append(sum(map(len, found.values())))
        return found

    monkeypatch.setattr(CheckpointWriter, "bodies", bodies)
    await bench.start(kept)
    events = await bench.events()
    assert told(events) == [f"~DELETE a-{n:02}" for n in range(40)]
    assert all(len(event.data) > 100 for event in events), "with their last bodies"
    assert sum(read) > 6 * LIMIT
    assert max(read) < 4 * LIMIT, "twice as many as before at most, though they were small until then"


async def test_large_objects_are_committed_a_few_at_a_time(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "COMMIT_BYTES", LIMIT)
    committed: list[int] = []
    real = CheckpointWriter.commit_prepared

    async def noted(self: CheckpointWriter, batch: Batch) -> None:
        committed.append(sum(len(event.data) for event in batch.events))
        await real(self, batch)

    monkeypatch.setattr(CheckpointWriter, "commit_prepared", noted)
    for n in range(20):
        await bench.create(f"a-{n:02}", spec={"text": "x" * (LIMIT // 4)})
    await bench.start()
    assert len(await bench.events()) == 20
    for n in range(20):
        await bench.update(f"a-{n:02}", {"spec": {"text": "y" * (LIMIT // 4)}})
    assert len(await bench.events()) == 20
    assert sum(committed) > 10 * LIMIT and max(committed) < 1.5 * LIMIT
