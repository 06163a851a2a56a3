"""Whatever the order in which a server sends versions: the position never moves back, and no lane's sequence falls."""

from __future__ import annotations

import json
import random

import pytest

from kubecdc.storage.contracts.event import Event, sequence
from tests.watcher.rig import KEY, Rig, event_source, told

pytestmark = pytest.mark.usefixtures("quick")
SOURCE = event_source(auditInterval=0)  # an audit would find what the server tells to be untrue


def line(type_: str, name: str, version: int) -> bytes:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(version)}
    kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}
    return json.dumps({"type": type_, "object": {**kind, "metadata": metadata}}, separators=(",", ":")).encode()


async def position(bench: Rig) -> str:
    found = await (await bench.open()).checkpoints.checkpoint(KEY)
    assert found
    assert found.state
    return found.state.position


def in_order(events: list[Event]) -> bool:
    last: dict[str, tuple[int, str]] = {}
    for event in events:
        at = event.timeline, event.sequence
        if at < last.get(event.partitionkey, at):
            return False
        last[event.partitionkey] = at
    return True


async def test_a_deletion_under_an_older_version_moves_nothing_back(bench: Rig) -> None:
    """As aggregated servers send it: under the version that the object had last."""
    old = await bench.create("old")
    await bench.start(SOURCE)
    await bench.watching()
    await bench.create("a")
    for n in range(3):
        await bench.update("a", {"spec": {"n": n + 10}})
    events = await bench.events()
    before = await position(bench)
    bench.api.inject(line("DELETED", "old", int(old["metadata"]["resourceVersion"])))
    await bench.create("b")
    events += await bench.events()
    bench.api.cut_streams(mid_line=False)
    events += await bench.events()
    assert told(events) == ["ADD old", "ADD a", *["UPDATE a"] * 3, "DELETE old", "ADD b"]
    assert in_order(events)
    assert events[5].id.split(".")[2] == old["metadata"]["resourceVersion"]
    assert events[5].sequence == sequence(before)


async def test_a_bookmark_of_an_older_version_moves_nothing_back(bench: Rig) -> None:
    await bench.start(SOURCE)
    await bench.watching()
    await bench.create("a")
    await bench.events()
    before = await position(bench)
    bench.api.inject(line("BOOKMARK", "", 2))
    bench.api.inject(line("MODIFIED", "a", 3))
    events = await bench.events()
    assert told(events) == ["UPDATE a"]
    assert events[0].sequence == sequence(before)
    assert int(await position(bench)) > int(before)


@pytest.mark.parametrize("seed", range(5))
async def test_any_order_of_versions(bench: Rig, seed: int) -> None:
    rng = random.Random(seed)
    await bench.start(SOURCE)
    await bench.watching()
    made: list[int] = []
    for _ in range(60):
        made.append(rng.randrange(1_000, 2_000))
        bench.api.inject(line(rng.choice(["ADDED", "MODIFIED", "DELETED"]), rng.choice("abc"), made[-1]))

    async def there() -> bool:
        return await position(bench) == str(max(made))

    await bench.until(there)
    events = await bench.events()
    assert len(events) == len(made)
    assert [int(event.id.split(".")[2]) for event in events] == made
    assert in_order(events)
