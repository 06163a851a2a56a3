"""`kubecdc audit`, beside a watcher and without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.apiserver import WatchRules, simulator
from tests.cli.rig import SOURCE, Desk
from tests.harness.other_program import other_program


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with simulator(rules=WatchRules(bookmark_interval=0.1)) as api:
        made = Desk(tmp_path, api)
        # The watcher's own audits stay out of the way.
        made.write("source.yaml", SOURCE.replace("resource: workflows", "resource: workflows\n      auditInterval: 0"))
        yield made


def forget(desk: Desk, name: str) -> None:
    with other_program(desk.folder / "kubecdc.db") as db:
        db.execute("DELETE FROM inventory WHERE name = ?", (name,))
        assert db.changes() == 1


@pytest.mark.long
async def test_no_difference_is_exit_code_0_and_one_is_exit_code_1(desk: Desk) -> None:
    await desk.create("a")
    await desk.create("b")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"b"', out=True)
        clean = await desk.call("audit")
        assert (clean.code, clean.out) == (0, "no difference: 2 objects under 1 checkpoint\n"), clean.err
        forget(desk, "a")
        found = await desk.call("audit", "-o", "json")
        assert found.code == 1, found.err
        (row,) = msgspec.json.decode(found.out)
        assert (row["watch"], row["kind"], row["name"]) == ("workflows/changed", "not captured", "a")


async def test_the_leader_repairs_what_the_audit_marks(desk: Desk) -> None:
    await desk.create("a")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"a"', out=True)
        forget(desk, "a")
        repaired = await desk.call("audit", "--repair")
        assert repaired.code == 0, repaired.err
        assert "1 repaired" in repaired.err
        await kubecdc.until('"synthetic":true', out=True)
        assert (await desk.call("audit")).code == 0


async def test_where_nobody_leads_the_audit_does_to_repair(desk: Desk) -> None:
    await desk.create("a")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"a"', out=True)
    forget(desk, "a")
    await desk.create("b")
    repaired = await desk.call("audit", "--repair")
    assert repaired.code == 0, repaired.err
    async with desk.running("work") as work:
        await work.until('"synthetic":true', out=True)
        await work.until('"name":"b"', out=True)


async def test_without_a_watcher_the_audit_says_what_it_waits_for(desk: Desk) -> None:
    nothing = await desk.call("audit")
    assert (nothing.code, "there is no bus" in nothing.err) == (2, True)
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"event":"listed"')
    await desk.create("a")
    waited = await desk.call("audit", "--patience", "0.5")
    assert waited.code == 1
    assert "is `kubecdc watch` running?" in waited.err


async def test_pages_that_expire_are_listed_again(desk: Desk) -> None:
    for n in range(60):  # more than one page
        await desk.create(f"made-{n:02}")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"made-59"', out=True)
        desk.api.fail(410, path="continue=", count=1)
        clean = await desk.call("audit")
        assert (clean.code, clean.out) == (0, "no difference: 60 objects under 1 checkpoint\n"), clean.err
        assert desk.api.faults.failures == []
