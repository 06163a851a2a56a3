"""A restore of etcd that no version tells: the backup's counter has grown past the position before anybody looked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kubecdc.backoff import Backoff
from kubecdc.cluster.connection import Cluster
from kubecdc.watcher import recovery
from kubecdc.watcher.audit import auditor
from kubecdc.watcher.capture.reasons import BACKWARDS, DIFFERS
from tests.apiserver import WatchRules, simulator
from tests.watcher.rig import KEY, Rig, event_source, rig, told


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "SOON_SECONDS", 0.0)
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Rig]:
    rules = WatchRules(bookmark_interval=0.05)
    async with simulator(rules=rules, initializing=0) as api, rig(api, tmp_path) as made:
        yield made


async def outgrown(bench: Rig) -> None:
    """``gone`` was there when the backup was made, then deleted; ``undone`` was made, and ``remade`` made anew. All of
    it is undone, while the watcher is down."""
    for name in ("gone", "remade", "same"):
        await bench.create(name)
    backup = await bench.api.snapshot()
    await bench.delete("gone")
    await bench.delete("remade")
    await bench.create("undone")
    await bench.create("remade")
    await bench.start(event_source(auditInterval=0))
    await bench.events()
    ahead = bench.api.version
    await bench.kill()
    await bench.api.restore(backup)
    await bench.api.write_past(str(ahead))


async def reasons(bench: Rig) -> list[str]:
    return [gap.reason for gap in await (await bench.open()).checkpoints.gaps(KEY)]


async def test_after_expired_history_an_unknown_object_older_than_the_position_starts_the_next_timeline(
    bench: Rig,
) -> None:
    await outgrown(bench)
    await bench.api.expire_history()
    await bench.start(event_source(auditInterval=0))
    events = await bench.events()
    assert sorted(told(events)) == ["~ADD gone", "~ADD remade", "~DELETE remade", "~DELETE undone", "~UPDATE same"]
    assert {event.timeline for event in events} == {1}
    lane = [event for event in events if event.partitionkey.endswith("/remade")]
    assert [event.id.split(".")[3] for event in lane] == ["DELETE", "ADD"]
    assert await reasons(bench) == [BACKWARDS]


async def test_what_only_the_audit_finds_is_told_under_ids_that_are_new(bench: Rig) -> None:
    await outgrown(bench)
    await bench.start()

    async def repaired() -> bool:
        return bool(await reasons(bench))

    await bench.until(repaired)
    events = await bench.events()
    assert sorted(told(events)) == ["~ADD gone", "~ADD remade", "~DELETE remade", "~DELETE undone"]
    assert {event.timeline for event in events} == {1}
    assert await reasons(bench) == [DIFFERS]


async def test_two_of_one_name_tell_a_restore_and_the_undone_one_ends_first(bench: Rig) -> None:
    await outgrown(bench)
    await bench.delete("remade")
    await bench.start(event_source(auditInterval=0))
    await bench.watching()
    new = await bench.create("remade")
    assert told(await bench.events()) == ["DELETE remade", "ADD remade"]  # the watch went on as if nothing had been
    await bench.kill()
    await bench.update("same", {"spec": {"n": 1}})
    await bench.api.expire_history()
    await bench.start(event_source(auditInterval=0))
    events = [event for event in await bench.events() if event.partitionkey.endswith("/remade")]
    assert told(events) == ["~DELETE remade", "~UPDATE remade"]
    assert new["metadata"]["uid"] in events[1].id
    assert {event.timeline for event in events} == {1}


async def test_no_list_is_taken_from_the_watch_cache(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with a resourceVersion may be older than what was seen: it would look like a restore, or hide one."""
    asked: list[dict[str, str]] = []
    get = Cluster.get

    async def spy(self: Cluster, path: str, query: Mapping[str, str] | None = None, **how: Any) -> bytes:
        if path.endswith("/workflows"):
            asked.append(dict(query or {}))
        return await get(self, path, query, **how)

    monkeypatch.setattr(Cluster, "get", spy)
    await outgrown(bench)
    await bench.start()

    async def repaired() -> bool:
        return bool(await reasons(bench))

    await bench.until(repaired)
    assert len(asked) >= 4  # the first list, the look before a watch, the audit, the repair
    assert not any("resourceVersion" in query for query in asked)


async def test_an_undone_object_ends_before_its_successor_whose_version_is_smaller(bench: Rig) -> None:
    """The versions of the undone object belong to the timeline before: the next one is not ordered by them."""
    backup = await bench.api.snapshot()
    await bench.create("a")
    for n in range(30):
        await bench.update("a", {"spec": {"n": n + 10}})
    await bench.start()
    events = await bench.events()
    await bench.kill()
    await bench.api.restore(backup)
    await bench.create("a")
    await bench.start()
    events += await bench.events()
    assert told(events) == ["ADD a", "~DELETE a", "~ADD a"]
    places = [(event.timeline, event.sequence) for event in events]
    assert places == sorted(places)
    assert await reasons(bench) == [BACKWARDS]
