"""A trial: a random load under random faults on a whole stack, and the ledger's judgment of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.harness.api import WORKFLOWS
from tests.harness.back_end import BackEnd
from tests.harness.faults import Unleashed, plan
from tests.harness.kinds import Kind
from tests.harness.ledger import Report, audit
from tests.harness.load import Load, touch
from tests.harness.processes import Processes
from tests.harness.servers import Server
from tests.harness.sqlite_file import SqliteFile
from tests.harness.stack import Stack
from tests.harness.writer import Writer

ACK_WAIT = 2.0  # seconds
PATIENCE = 40.0  # seconds for an audit to come and to be repaired
WATCHERS = ("watcher-1", "watcher-2")
WORKERS = ("worker-1", "worker-2")
KEY = "workflows/changed"
SUBSCRIPTION = "relay/post"


def brisk(bus: BackEnd) -> Mapping[str, object]:
    """A redelivery that a test can wait for."""
    return {
        "ackWait": f"{bus.ack_wait:g}s",
        "maxDeliveries": 1000 if bus.atomic else 50,  # what each of them takes
        "backoff": {"duration": "200ms", "factor": 2, "cap": "1s", "jitter": 0.2},
    }


def manifests(
    url: str, bus: BackEnd, redelivery: Mapping[str, object] | None = None, **entry: object
) -> list[dict[str, object]]:
    """Every change of every workflow, posted to the URL; ``entry``: more fields of the EventSource's entry."""
    redelivery = brisk(bus) if redelivery is None else redelivery
    workflows = {
        "group": WORKFLOWS.group,
        "version": WORKFLOWS.version,
        "resource": WORKFLOWS.plural,
        "eventTypes": ["ADD", "UPDATE", "DELETE"],
        **entry,
    }
    relay = {
        "dependencies": [{"name": "change", "eventSourceName": "workflows", "eventName": "changed"}],
        "triggers": [{"template": {"name": "post", "http": {"url": url}}}],
    }
    specs: dict[str, tuple[str, dict[str, object]]] = {
        "EventBus": (
            "default",
            {**bus.manifest, **({"redelivery": dict(redelivery)} if redelivery else {})},
        ),
        "EventSource": ("workflows", {"resource": {"changed": workflows}}),
        "Sensor": ("relay", dict(relay)),
    }
    return [
        {"apiVersion": "kubecdc.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, (name, spec) in specs.items()
    ]


async def raise_stack(
    directory: Path,
    server: Server,
    processes: Processes,
    bus: BackEnd | None = None,
    *,
    watchers: tuple[str, ...] = WATCHERS,
    workers: tuple[str, ...] = WORKERS,
    redelivery: Mapping[str, object] | None = None,
    **entry: object,
) -> Stack:
    """Receiver, watchers and workers on a running API server; returns once the first list is done. Without a ``bus``
    it is a file; an empty ``redelivery`` means the defaults of kubecdc, none means `brisk`."""
    folder = directory / "manifests"
    folder.mkdir(parents=True)
    stack = Stack(directory, server, processes, folder, bus or SqliteFile(directory / "bus.db"))
    url = await stack.start_receiver()
    (folder / "all.yaml").write_text(yaml.safe_dump_all(manifests(url, stack.bus, redelivery, **entry)))
    for name in watchers:
        stack.start_watcher(name)
    for name in workers:
        stack.start_worker(name)
    await stack.ready()
    return stack


@dataclass(frozen=True)
class Trial:
    """A load and how many faults of each kind strike while it runs."""

    load: Load
    faults: Mapping[Kind, int]

    async def run(self, stack: Stack, writer: Writer) -> Report:
        """Run the load under the faults, wait until all has come, and audit everything since the stack began."""
        rng = random.Random(f"faults/{self.load.seed}")
        faults = plan(rng, self.load.changes, self.faults)
        async with stack.gaps_remembered(KEY), asyncio.TaskGroup() as group:
            striking = group.create_task(Unleashed(stack, writer, rng).run(faults))
            group.create_task(self.load.run(writer, longer=lambda: not striking.done()))
        return await verdict(stack, writer)


async def verdict(stack: Stack, writer: Writer) -> Report:
    """Wait until all has come, and judge. The last write must be one that every watch sees.

    After a restore only an audit may find what is wrong, and the versions do not tell how far a watch has come: there
    the verdict is the first good one, or the last within `PATIENCE`. An audit waits until the watch has passed its
    list; where a Lease is renewed in the same etcd, that takes a bookmark, or another write.
    """
    await stack.settle(writer.version)
    deadline = time.monotonic() + (PATIENCE if writer.restores else 0.0)
    while True:
        report = await judge(stack, writer)
        if report.ok or time.monotonic() > deadline:
            return report
        await asyncio.sleep(0.5)
        await touch(writer)
        await stack.settle(0)


async def judge(stack: Stack, writer: Writer) -> Report:
    """The ledger's judgment of everything written so far."""
    return audit(
        writer.changes,
        stack.receipts(SUBSCRIPTION),
        await stack.gaps(KEY),
        restores=writer.restores,
        absences=stack.absences,
        window=ACK_WAIT,
        clock=time.time() - time.monotonic(),
        copies=stack.bus.copies(),
    )
