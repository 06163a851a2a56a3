"""Killed at each commit, or the commit lost, refused or repeated: what consumers were told is what is there."""

from __future__ import annotations

import pytest

from kubecdc.storage.testing.fault_injection import (
    Crash,
    Fault,
    crash_after,
    crash_before,
    duplicate,
    lost_reply,
    refused,
)
from tests.watcher.rig import KEY, Rig, believed, event_source, faulty, told

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(6))
async def test_killed_in_the_middle_of_the_first_list_with_objects_deleted_before_the_restart(
    bench: Rig, commits: int, fault: Fault
) -> None:
    for name in "abcdefg":
        await bench.create(name)
    bench.wrap = faulty(*[None] * commits, fault)
    await bench.start()
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    await bench.delete("a")
    await bench.delete("g")
    await bench.update("b", {"spec": {"n": 2}})
    await bench.delete("c")
    await bench.create("c")
    await bench.start()
    events = await bench.events()
    await believed(bench, events)
    assert len({e.id for e in events}) == len(events)


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", [*range(6), 7, 8])
async def test_killed_in_the_middle_of_a_repair_with_objects_deleted_before_the_restart(
    bench: Rig, commits: int, fault: Fault
) -> None:
    for name in "abcdefg":
        await bench.create(name)
    await bench.start()
    events = await bench.events()
    await bench.kill()
    for name in "abe":
        await bench.delete(name)
    await bench.create("a")
    await bench.update("d", {"spec": {"n": 2}})
    await bench.create("h")
    await bench.api.expire_history()
    # The first list is behind us: the mark, three pages of two objects that differ, two deletions, the end.
    bench.wrap = faulty(*[None] * commits, fault)
    await bench.start()
    if commits < 6:
        assert isinstance(await bench.ended(), Crash)
        await bench.kill()
    else:
        events += await bench.events()
        await bench.kill()
    bench.wrap = lambda bus: bus
    for name in "df":
        await bench.delete(name)
    await bench.create("d")
    await bench.start()
    events += await bench.events()
    await believed(bench, events)
    gaps = await (await bench.open()).checkpoints.gaps(KEY)
    assert gaps
    assert gaps[0].reason == "history expired"


@pytest.mark.parametrize("commits", range(5))
async def test_killed_on_the_way_to_another_namespace_still_tells_deselected_from_deleted(
    bench: Rig, commits: int
) -> None:
    await bench.api.make_namespaces("one", "two")
    for name in "abc":
        await bench.create(name, namespace="one")
    await bench.start(event_source(namespace="one"))
    await bench.events(namespace="one")
    await bench.kill()
    await bench.create("d", namespace="two")
    bench.wrap = faulty(*[None] * commits, crash_after)
    await bench.start(event_source(namespace="two"))
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await bench.start(event_source(namespace="two"))
    ends = [e for e in await bench.events(namespace="two") if "DELETE" in told([e])[0]]
    assert sorted(told(ends)) == ["~DELETE a", "~DELETE b", "~DELETE c"]
    assert all(e.deselected for e in ends)


@pytest.mark.parametrize("fault", [lost_reply, refused, duplicate])
async def test_a_commit_that_is_lost_refused_or_repeated_counts_once(bench: Rig, fault: Fault) -> None:
    for name in "abc":
        await bench.create(name)
    bench.wrap = faulty(*[fault, None] * 20)
    await bench.start()
    await bench.watching()
    for n in range(5):
        await bench.update("a", {"spec": {"n": n + 10}})
    await bench.delete("b")
    events = await bench.events()
    assert told(events) == ["ADD a", "ADD b", "ADD c", *["UPDATE a"] * 5, "DELETE b"]
    assert len({e.id for e in events}) == len(events)
