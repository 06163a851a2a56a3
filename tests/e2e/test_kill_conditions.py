"""Sets of events are completed while workers and watchers are killed: each fires under one key, with its own events.

``KUBECDC_KILLS`` sets the number of SIGKILLs (10), ``KUBECDC_SEED`` the seed of load and faults (1). SQS is played by
ElasticMQ, Pub/Sub by the fake; both have their checkpoint and state in a Redis.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.harness.api import WORKFLOWS, Api
from tests.harness.back_end import BackEnd
from tests.harness.buses import BUSES, open_bus
from tests.harness.faults import Unleashed, plan
from tests.harness.kinds import Kind
from tests.harness.processes import Processes
from tests.harness.receiver import Behaviour, Line, lines
from tests.harness.servers import Server
from tests.harness.stack import Stack
from tests.harness.trial import WATCHERS, brisk
from tests.harness.writer import Writer
from tests.storage.redis_server import RedisServer

KILLS = int(os.environ.get("KUBECDC_KILLS", "10"))
SEED = int(os.environ.get("KUBECDC_SEED", "1"))
WORKERS = ("worker-1", "worker-2", "worker-3")
PARTS = "abc"
SETS = 20 + 4 * KILLS
PER_SECOND = len(PARTS) * SETS / max(20.0, 1.5 * KILLS)  # objects
OPEN = 8  # sets that are begun, of which the next object may be
pytestmark = [pytest.mark.long, pytest.mark.timeout(600 + 15 * KILLS)]


@dataclass(frozen=True)
class Trigger:
    """One that waits for an object of each of the ``parts``; with a ``key``, of the same set."""

    name: str
    parts: str
    key: str = ""

    def manifest(self, url: str) -> dict[str, object]:
        payload = [{"src": {"dependencyName": p, "dataKey": "body.metadata.name"}, "dest": p} for p in self.parts]
        template = {
            "name": self.name,
            "conditions": " && ".join(self.parts),
            "http": {"url": f"{url}/{self.name}", "payload": payload},
        }
        return {"template": {**template, **({"conditionsKey": self.key} if self.key else {})}}


EACH, PAIRS = Trigger("each", "abc", "body.metadata.labels.set"), Trigger("pairs", "ab")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture(params=BUSES)
async def bus(request: pytest.FixtureRequest, processes: Processes, tmp_path: Path) -> AsyncIterator[BackEnd]:
    async with open_bus(request.param, processes, tmp_path) as bus:
        yield bus


async def raise_stack(
    directory: Path, server: Server, processes: Processes, bus: BackEnd, store: Mapping[str, object]
) -> Stack:
    """Watchers of the three parts, and workers with both triggers."""
    folder = directory / "manifests"
    folder.mkdir()
    stack = Stack(directory, server, processes, folder, bus)
    url = await stack.start_receiver(bodies=True)
    resource = {"group": WORKFLOWS.group, "version": WORKFLOWS.version, "resource": WORKFLOWS.plural}
    entries = {
        part: {**resource, "eventTypes": ["ADD"], "filter": {"labels": [{"key": "part", "value": part}]}}
        for part in PARTS
    }
    dependencies = [{"name": part, "eventSourceName": "parts", "eventName": part} for part in PARTS]
    specs = {
        "EventBus": ("default", {**bus.manifest, **store, "redelivery": brisk(bus)}),
        "EventSource": ("parts", {"resource": entries}),
        "Sensor": ("join", {"dependencies": dependencies, "triggers": [t.manifest(url) for t in (EACH, PAIRS)]}),
    }
    documents = [
        {"apiVersion": "kubecdc.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, (name, spec) in specs.items()
    ]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
    for name in WATCHERS:
        stack.start_watcher(name)
    for name in WORKERS:
        await stack.start_worker(name).wait_for('"event":"bus"', timeout=180)
    return stack


async def make_sets(writer: Writer, rng: random.Random, count: int, *, longer: Callable[[], bool]) -> int:
    """Make so many sets of objects, more while ``longer`` says so, some at a time. Returns how many."""
    begun = 0
    left: list[tuple[int, str]] = []
    while left or begun < count or longer():
        if len({number for number, _ in left}) < OPEN and (begun < count or longer()):
            left += [(begun, part) for part in PARTS]
            begun += 1
        number, part = left.pop(rng.randrange(len(left)))
        labels = {"part": part, "set": f"s{number}"}
        async with writer.turn():
            await writer.create("default", f"{part}-{number}", {"metadata": {"labels": labels}, "spec": {}})
        await asyncio.sleep(rng.expovariate(PER_SECOND))
    return begun


def fired(requests: list[Line]) -> dict[str, Mapping[str, str]]:
    """The set of each idempotency key. A repeat has the same."""
    found: dict[str, Mapping[str, str]] = {}
    for request in requests:
        names = msgspec.json.decode(request.body, type=dict[str, str])
        assert found.setdefault(request.idempotency_key, names) == names, request.idempotency_key
    return found


@pytest.fixture
def store(request: pytest.FixtureRequest, bus: BackEnd) -> Mapping[str, object]:
    """Where the bus has its checkpoint and state, if not in itself."""
    if bus.atomic:
        return {}
    redis: RedisServer = request.getfixturevalue("redis")
    return {"checkpoint": {"redis": {"url": redis.url}}}


async def test_each_set_fires_under_one_key_though_workers_and_watchers_are_killed(
    bus: BackEnd, store: Mapping[str, object], simulator: Server, processes: Processes, tmp_path: Path
) -> None:
    watchers_killed = KILLS // 4
    faults = {
        Kind.KILL_WATCHER: watchers_killed,
        Kind.KILL_WORKER: KILLS - watchers_killed,
        Kind.PAUSE_WORKER: 2,
        Kind.KILL_REDIS: int(Kind.KILL_REDIS in bus.faults),
    }
    rng = random.Random(f"sets/{SEED}")
    stack = await raise_stack(tmp_path, simulator, processes, bus, store)
    await stack.behave(Behaviour(delay=1.0, seconds=900))  # so that a death finds something in flight
    async with Api(stack.kubeconfig) as api, asyncio.TaskGroup() as group:
        writer = Writer(api, WORKFLOWS)
        planned = plan(rng, len(PARTS) * SETS, faults)
        striking = group.create_task(Unleashed(stack, writer, rng).run(planned))
        making = group.create_task(make_sets(writer, rng, SETS, longer=lambda: not striking.done()))
    made = {f"s{number}" for number in range(making.result())}

    def requests(trigger: Trigger) -> list[Line]:
        return [line for line in lines(stack.received) if line.path == f"/{trigger.name}" and line.answer == 200]

    async def missing() -> str:
        left = made - {body["a"].replace("a-", "s") for body in fired(requests(EACH)).values()}
        return f"{len(left)} of {len(made)} sets have not fired: {sorted(left)[:5]}" if left else ""

    await stack.wait(missing, 240.0, "all sets")
    await stack.drained(180.0)
    each, pairs = fired(requests(EACH)), fired(requests(PAIRS))
    repeats = len(requests(EACH)) - len(each), len(requests(PAIRS)) - len(pairs)
    print(
        f"seed {SEED}, {dict(sorted(stack.faults.items()))}: {len(each)} sets and {len(pairs)} pairs, {repeats} again"
    )
    assert stack.faults == {str(kind): count for kind, count in faults.items() if count}
    expected = [{part: f"{part}-{number}" for part in PARTS} for number in range(len(made))]
    assert sorted(each.values(), key=str) == sorted(expected, key=str), "each set has one key, and its own events"
    used = Counter(name for pair in pairs.values() for name in pair.values())
    if bus.atomic:  # else an event may come again after its ack, and without a key it is not recognized
        assert {name: times for name, times in used.items() if times > 1} == {}, "no event is in two pairs"
    assert all(pair.keys() == set("ab") for pair in pairs.values())
