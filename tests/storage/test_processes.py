"""Several processes on one file, and the state of the file after they are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.sqlite.file.connection import row, rows
from kubecdc.storage.testing.actors import DEADLINE, KEY, SOURCE, SUBJECT, Leader, event, known, pending, until
from tests.storage.conftest import SqliteHarness
from tests.storage.process import BATCH, NAME

SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)


@asynccontextmanager
async def process(
    harness: SqliteHarness, role: str, holder: str = "child", ack_wait: int = 30
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of that role. It is killed at the end of the block."""
    command = [sys.executable, "-m", "tests.storage.process", role, str(harness.path), holder, str(ack_wait)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield child
    finally:
        await kill(child)


async def kill(child: asyncio.subprocess.Process) -> list[str]:
    """SIGKILL. Returns its output that was not read yet."""
    if child.returncode is None:
        child.send_signal(signal.SIGKILL)
    assert child.stdout
    rest = (await child.stdout.read()).decode().split("\n")
    await child.wait()
    return rest[:-1]  # the last line may be cut


async def settled(bus: Bus) -> bool:
    return await pending(bus, NAME) == 0


async def line(child: asyncio.subprocess.Process) -> str:
    assert child.stdout
    async with asyncio.timeout(DEADLINE):
        return (await child.stdout.readline()).decode().strip()


async def test_a_commit_that_is_killed_happened_whole_or_not_at_all(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    said = 0
    for kills in range(1, 5):
        async with process(harness, "commit") as child:
            for _ in range(3 * kills):
                said = int(await line(child))
            last = await kill(child)
            said = int(last[-1]) if last else said
        (checkpoint,) = await bus.checkpoints.checkpoints()
        assert checkpoint.state
        number = checkpoint.number
        assert number >= said, "what was acknowledged is there"
        assert checkpoint.state.position == str(number)
        assert len(await bus.checkpoints.inventory(KEY)) == number * BATCH
        assert await pending(bus, NAME) == number * BATCH
        counts = await bus._reader.submit(
            lambda db: [row(db, f"SELECT count(*) FROM {table}")[0] for table in ("events", "bodies", "deliveries")]
        )
        assert counts == [number * BATCH] * 3
        assert await bus._reader.submit(lambda db: row(db, "PRAGMA integrity_check")) == ("ok",)


async def test_workers_of_several_processes_share_the_work_in_order(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])

    async def both_work() -> bool:
        return len(known((await bus.subscriptions())[0].workers)) == 2

    async with process(harness, "work", "w1") as one, process(harness, "work", "w2") as two:
        await until(both_work)
        async with process(harness, "commit") as leader:
            for _ in range(15):
                await line(leader)
            await kill(leader)
            (checkpoint,) = await bus.checkpoints.checkpoints()
        await until(lambda: settled(bus))
        said = [(holder, text.split()) for holder, child in (("w1", one), ("w2", two)) for text in await kill(child)]
    assert {holder for holder, _ in said} == {"w1", "w2"}
    assert len(said) == checkpoint.number * BATCH, "each event once"
    spans: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for _, (key, sequence, received, finished) in said:
        spans[key].append((int(sequence), float(received), float(finished)))
    for of_one in spans.values():
        of_one.sort()
        for before, after in pairwise(of_one):
            assert after[1] > before[2], "received only when the one before was done"


async def test_a_worker_that_is_killed_loses_nothing_and_repeats_only_what_it_held(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(*(event(number, f"object-{number % 8}") for number in range(200)))
    seen: Counter[str] = Counter()
    async with process(harness, "work", "killed", ack_wait=1) as child:
        for _ in range(40):
            seen[(await line(child)).split()[1]] += 1
        for text in await kill(child):
            seen[text.split()[1]] += 1
    held = await bus._reader.submit(
        lambda db: {
            str(int(number)) for (number,) in rows(db, "SELECT seq - 1 FROM deliveries WHERE holder = 'killed'")
        }
    )
    assert len(held) <= 4, "its prefetch"
    async with process(harness, "work", "next") as child:
        await until(lambda: settled(bus))
        for text in await kill(child):
            seen[text.split()[1]] += 1
    assert len(seen) == 200
    assert {number for number, count in seen.items() if count > 1} <= held


async def test_the_next_leads_at_once_when_the_leader_is_killed(harness: SqliteHarness) -> None:
    bus = await harness.sqlite()
    async with process(harness, "lead", "first") as child:
        first = int(await line(child))
        leading = bus.elector.lead()
        entering = asyncio.create_task(leading.__aenter__())
        await asyncio.sleep(0.25)
        assert not entering.done()
        assert harness.path.with_name("bus.db.leader").read_text() == "first"
        os.kill(child.pid, signal.SIGKILL)
        killed = time.monotonic()
        async with asyncio.timeout(DEADLINE):
            term = await entering
        assert time.monotonic() - killed < 5
        assert term.number > first
        await leading.__aexit__(None, None, None)
