"""The audit finds what no event explains, repairs it, and sees nothing where there is nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kubecdc.backoff import Backoff
from kubecdc.cluster.changes import Page
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.watcher import recovery
from kubecdc.watcher.audit import auditor
from kubecdc.watcher.capture import pages, stream
from tests.apiserver import WORKFLOWS, WatchRules, simulator
from tests.exported import REGISTRY
from tests.harness.other_program import other_program
from tests.watcher.rig import KEY, Rig, event_source, rig, told


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "SOON_SECONDS", 0.0)
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(pages, "PAGE_OBJECTS", (2, 2))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Rig]:
    async with simulator(rules=WatchRules(bookmark_interval=0.05)) as server, rig(server, tmp_path) as made:
        yield made


async def stopped_with(bench: Rig, *names: str) -> None:
    """A watcher has captured these objects and is down."""
    for name in names:
        await bench.create(name)
    await bench.start()
    await bench.events()
    await bench.kill()


def edit(bench: Rig, sql: str, *bindings: str) -> None:
    """Change the store behind everybody's back."""
    with other_program(bench.path) as db:
        db.execute(sql, bindings)
        assert db.changes() == 1


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("DELETE FROM inventory WHERE name = ?", "~ADD b"),
        ("UPDATE inventory SET resource_version = '1' WHERE name = ?", "~UPDATE b"),
        ("UPDATE inventory SET uid = 'gone', name = 'x' WHERE name = ?", None),
    ],
)
async def test_an_inventory_changed_behind_our_back_is_found_and_repaired(
    bench: Rig, sql: str, expected: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    await stopped_with(bench, "a", "b", "c")
    edit(bench, sql, "b")
    await bench.start()

    async def repaired() -> bool:
        return bool(await (await bench.open()).checkpoints.gaps(KEY))

    await bench.until(repaired)
    events = told(await bench.events())
    assert events == ([expected] if expected else ["~ADD b", "~DELETE x"])
    (gap,) = await (await bench.open()).checkpoints.gaps(KEY)
    assert gap.reason == "the audit found differences"
    assert "not captured" in capsys.readouterr().out


async def test_a_faithful_inventory_passes_while_objects_come_and_go(bench: Rig) -> None:
    await stopped_with(bench, *"abcdef")
    await bench.start(event_source(auditInterval="1s"))
    await bench.watching()
    for n in range(40):
        await bench.update("a", {"spec": {"n": n + 10}})
        await bench.create(f"temporary-{n}")
        await bench.delete(f"temporary-{n}")
    events = await bench.events()
    assert len(events) == 120
    assert not any(e.synthetic for e in events)
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


async def test_an_object_deleted_while_the_audit_lists_is_not_raised_from_the_dead(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stopped_with(bench, "a", "b", "c")
    real = ListWatch.page
    done: list[str] = []

    async def page(self: ListWatch, limit: int, after: str = "", *, most_bytes: int | None = None) -> Page:
        if limit > 1 and not done:
            # Between the reading of the inventory and the list: in the list, not in the inventory.
            await bench.create("aa")
            found = await real(self, limit, after)
            assert "aa" in [item.meta.name for item in found.items]
            await bench.delete("aa")
            await bench.delete("b")
            done.append("listed")
            return found
        return await real(self, limit, after)

    monkeypatch.setattr(ListWatch, "page", page)
    await bench.start()

    async def listed() -> bool:
        return bool(done)

    await bench.until(listed)
    assert told(await bench.events()) == ["ADD aa", "DELETE aa", "DELETE b"]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


async def test_an_object_that_left_the_selector_meanwhile_is_no_difference(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.create("a", labels={"k": "x"})
    source = event_source(filter={"labels": [{"key": "k", "value": "x"}]})
    await bench.start(source)
    await bench.events({"k": "x"})
    await bench.kill()
    real = ListWatch.page
    done: list[str] = []

    async def page(self: ListWatch, limit: int, after: str = "", *, most_bytes: int | None = None) -> Page:
        found = await real(self, limit, after)
        if limit > 1 and not done:
            await bench.create("b", labels={"k": "x"})
            found = await real(self, limit, after)
            await bench.update("b", {"metadata": {"labels": {"k": "y"}}})
            done.append("listed")
        return found

    monkeypatch.setattr(ListWatch, "page", page)
    await bench.start(source)

    async def listed() -> bool:
        return bool(done)

    await bench.until(listed)
    assert told(await bench.events({"k": "x"})) == ["ADD b", "DELETE b"]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []
    assert (await bench.api.get(*WORKFLOWS, "default", "b"))["metadata"]["labels"] == {"k": "y"}


async def test_an_api_server_that_was_away_is_followed_by_an_audit(bench: Rig) -> None:
    await stopped_with(bench, "a", "b")
    await bench.start(event_source(auditInterval="1h"))
    await bench.watching()
    assert told(await bench.events()) == []
    edit(bench, "DELETE FROM inventory WHERE name = ?", "b")
    await bench.api.refuse(0.1)

    async def repaired() -> bool:
        return bool(await (await bench.open()).checkpoints.gaps(KEY))

    await bench.until(repaired)
    assert told(await bench.events()) == ["~ADD b"]


@pytest.mark.parametrize("changes", [True, False], ids=["busy", "quiet"])
@pytest.mark.parametrize("end", ["in order", "cut"])
async def test_a_load_balancer_that_limits_the_time_of_a_watch_costs_a_resume_and_no_list(
    bench: Rig, end: str, changes: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream, "INSTANT_SECONDS", 0.0)  # each is open for a while
    await stopped_with(bench, *"abcde")
    before = REGISTRY.get_sample_value("kubecdc_audits_total", {"watch": KEY, "result": "clean"}) or 0.0
    await bench.start(event_source(auditInterval="1h"))

    async def audited() -> bool:
        return REGISTRY.get_sample_value("kubecdc_audits_total", {"watch": KEY, "result": "clean"}) == before + 1

    await bench.until(audited)
    asked: list[str] = []
    get = Cluster.get

    async def spy(self: Cluster, path: str, query: Mapping[str, str] | None = None, **more: Any) -> bytes:
        if path.endswith("/workflows"):
            asked.append((query or {}).get("limit", ""))
        return await get(self, path, query, **more)

    monkeypatch.setattr(Cluster, "get", spy)
    monkeypatch.setattr(recovery, "BACKOFF", Backoff(3600))
    capsys.readouterr()
    for n in range(5):
        await bench.watching()
        before = len(asked)
        bench.api.end_streams() if end == "in order" else bench.api.cut_streams(mid_line=False)
        if changes:
            await bench.create(f"made-{n}")
            assert told(await bench.events()) == [f"ADD made-{n}"]

        async def resumed(before: int = before) -> bool:
            return len(asked) > before

        await bench.until(resumed)
    assert told(await bench.events()) == []
    assert set(asked) == {"1"}
    assert "warning" not in capsys.readouterr().out
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


async def test_audits_can_be_turned_off(bench: Rig) -> None:
    await stopped_with(bench, "a")
    edit(bench, "DELETE FROM inventory WHERE name = ?", "a")
    await bench.start(event_source(auditInterval=0))
    assert told(await bench.events()) == []
    assert await (await bench.open()).checkpoints.gaps(KEY) == []
