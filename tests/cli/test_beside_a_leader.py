"""What an operator does to a Redis bus while a leader that a Lease elected works on it, and while none does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.apiserver import LEASES, WatchRules, simulator
from tests.cli.rig import REDIS_BUS, Desk

QUICK = ["--lease-duration", "3s", "--renew-deadline", "2s", "--retry-period", "200ms"]
KEY = "workflows/changed"


@pytest.fixture
async def desk(tmp_path: Path, redis_url: str) -> AsyncIterator[Desk]:
    async with simulator(rules=WatchRules(bookmark_interval=0.1)) as api:
        made = Desk(tmp_path, api)
        made.entry(auditInterval="0")  # the watcher's own audits stay out of the way
        made.write("bus.yaml", REDIS_BUS.format(url=redis_url))
        yield made


async def forget(desk: Desk, name: str) -> None:
    """Take an object out of the inventory, behind everybody's back."""
    url = (desk.manifests / "bus.yaml").read_text().split('"')[1]
    async with Redis.from_url(url) as redis:
        inventory = "{kubecdc:default}:inventory:" + KEY
        found: dict[Any, Any] = await redis.hgetall(inventory)
        (uid,) = [uid for uid, known in found.items() if f'"{name}"'.encode() in known]
        assert await redis.hdel(inventory, uid) == 1


async def lease(desk: Desk) -> dict[str, Any]:
    return await desk.api.get(*LEASES, "default", "kubecdc")


async def epoch(desk: Desk) -> int:
    (row,) = await desk.rows("checkpoint", "show")
    return int(row["epoch"])


@pytest.mark.long
async def test_a_reset_makes_the_leader_list_again_under_the_same_term(desk: Desk) -> None:
    await desk.create("a")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"a"', out=True)
        term = await epoch(desk)
        assert (await desk.call("checkpoint", "reset", KEY, "--yes")).code == 0
        await kubecdc.until('(?s)"listed".*"listed"')
        await kubecdc.until('(?s)"name":"a".*"name":"a"', out=True)
        assert not kubecdc.lines("no longer the leader")
    assert (await epoch(desk), (await lease(desk))["spec"]["leaseTransitions"]) == (term, 0)


async def test_a_position_that_is_set_is_where_a_busy_leader_goes_on(desk: Desk) -> None:
    made = await desk.create("a")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"a"', out=True)
        await desk.create("b")
        await kubecdc.until('"name":"b"', out=True)
        stop = asyncio.Event()

        async def load() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await desk.create(f"load-{number}")

        loading = asyncio.create_task(load())
        version = str(made["metadata"]["resourceVersion"])  # type: ignore[index]
        done = await desk.call("checkpoint", "set", KEY, "--resource-version", version, "--yes")
        stop.set()
        await loading
        assert done.code == 0, done.err
        await kubecdc.until('(?s)"name":"b".*"name":"b"', out=True)
        assert kubecdc.out.count('"name":"a"') == 1
        assert not kubecdc.lines("no longer the leader")


@pytest.mark.long
async def test_the_leader_repairs_what_the_audit_marks_and_keeps_the_lease(desk: Desk) -> None:
    await desk.create("a")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"a"', out=True)
        term = await epoch(desk)
        await forget(desk, "a")
        repaired = await desk.call("audit", "--repair", "-o", "json")
        assert (repaired.code, repaired.out[0], "1 repaired" in repaired.err) == (0, "[", True), repaired.err
        assert "standing by" in repaired.err
        await kubecdc.until('"synthetic":true', out=True)
        assert not kubecdc.lines("no longer the leader")
    assert (await epoch(desk), (await lease(desk))["spec"]["leaseTransitions"]) == (term, 0)


@pytest.mark.long
async def test_where_nobody_leads_the_audit_takes_the_lease_repairs_and_gives_it_back(desk: Desk) -> None:
    await desk.create("a")
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"name":"a"', out=True)
    term = await epoch(desk)
    await forget(desk, "a")
    repaired = await desk.call("audit", "--repair")
    assert (repaired.code, "1 repaired" in repaired.err) == (0, True), repaired.err
    found = await lease(desk)
    annotated = found["metadata"]["annotations"]["kubecdc.io/epoch"]
    assert (found["spec"]["holderIdentity"], annotated) == ("", str(await epoch(desk)))
    assert int(annotated) > term
    async with desk.running("work") as work:
        await work.until('"synthetic":true', out=True)


@pytest.mark.long
async def test_where_the_leader_has_died_the_audit_waits_for_its_lease_to_expire(desk: Desk) -> None:
    await desk.create("a")
    async with desk.running("run", *QUICK) as kubecdc:
        await kubecdc.until('"name":"a"', out=True)
        kubecdc.process.send_signal(signal.SIGKILL)
        await kubecdc.process.wait()
    await forget(desk, "a")
    repaired = await desk.call("audit", "--repair", *QUICK)
    assert (repaired.code, "1 repaired" in repaired.err) == (0, True), repaired.err
    assert repaired.err.index("standing by") < repaired.err.index("lease taken")
