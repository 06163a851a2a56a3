"""``make demo``: sixty workflows run while the watcher and the workers are killed and the API server's history expires.

`kubecdc watch`, two `kubecdc work` and an HTTP receiver run as separate processes, with the manifests of this folder.
Only the cluster is simulated, by the API server of the tests. At the end, the changes that the API server committed are
compared with the events that arrived. Exits with 1 if an event was lost or out of order. Logs, queue and manifests stay
in build/demo.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.api import WORKFLOWS, Api
from tests.harness.ledger import Change, Receipt, Report, audit
from tests.harness.processes import Processes, until
from tests.harness.receiver import Behaviour
from tests.harness.servers import open_server
from tests.harness.sqlite_file import SqliteFile
from tests.harness.stack import Stack
from tests.harness.writer import Writer

HERE = Path(__file__).parent
DIRECTORY = HERE.parents[1] / "build" / "demo"
SHIPPED_URL = "http://127.0.0.1:8080/workflows"
NAMESPACES = ("team-a", "team-b", "team-c")
COUNT = 60
CHANGES_EACH = 5
DELETED = 5
ENDED = {"Succeeded", "Failed"}
ACK_WAIT = 2.0  # seconds, as in eventbus.yaml
PHASE = "workflows.argoproj.io/phase"
COMPLETED = "workflows.argoproj.io/completed"


@dataclass
class Workflow:
    """One run of a workflow: Pending, Running, and Succeeded or Failed."""

    number: int
    pace: float  # seconds between two changes
    fails: bool

    @property
    def name(self) -> str:
        return f"build-{self.number:02}"

    @property
    def namespace(self) -> str:
        return NAMESPACES[self.number % len(NAMESPACES)]

    async def run(self, writer: Writer) -> None:
        """Write the same changes as the controller of Argo Workflows."""
        await writer.create(self.namespace, self.name, {"metadata": {"labels": {"track-me": "true"}}, "spec": {}})
        end = ("Failed", "step 3 exited with code 1") if self.fails else ("Succeeded", "")
        for phase, message in [("Pending", "waiting for a node"), ("Running", "1/3"), ("Running", "2/3"), end]:
            await asyncio.sleep(self.pace)
            labels = {PHASE: phase} | ({COMPLETED: "true"} if phase in ENDED else {})
            status = {"phase": phase, "message": message}
            await writer.patch(self.namespace, self.name, {"metadata": {"labels": labels}, "status": status})


@dataclass
class Demo:
    """One run of the demo. `writer` has the committed changes, `stack` the running processes."""

    stack: Stack
    writer: Writer
    rng: random.Random
    ended: list[Workflow] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print a line with the elapsed time."""
        print(f"{time.monotonic() - self.began:5.1f} s  {text}", flush=True)

    async def run(self) -> None:
        """Run the workflows and the faults, until all events have arrived."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._workflows())
            group.create_task(self._faults())
        self.say("all workflows have ended; waiting for the remaining events")
        await self.stack.settle(self.writer.version)

    async def _workflows(self) -> None:
        async def one(number: int) -> None:
            await asyncio.sleep(number * 0.3)
            workflow = Workflow(number, self.rng.uniform(0.4, 1.0), self.rng.random() < 0.2)
            await workflow.run(self.writer)
            self.ended.append(workflow)

        async with asyncio.TaskGroup() as group:
            for number in range(COUNT):
                group.create_task(one(number))

    async def _faults(self) -> None:
        for share, victim in [(0.1, "watcher"), (0.25, "worker-1"), (0.4, "watcher"), (0.5, "worker-2")]:
            await self._wait_for_changes(share)
            await self.stack.kill(victim)
            self.say(f"kill -9 {victim}")
            await asyncio.sleep(0.5)
            await self._restart(victim, '"leading"' if victim == "watcher" else '"bus"')
        await self._wait_for_changes(0.6)
        await until(lambda: len(self._announced()) >= DELETED, 120, "some workflows whose end was announced")
        await self.stack.kill("watcher")
        self.say("kill -9 watcher, without a restart")
        for workflow in self._announced()[:DELETED]:
            await self.writer.delete(workflow.namespace, workflow.name)
        self.say("meanwhile, five workflows are deleted ...")
        await self._wait_for_changes(0.7)
        await self.stack.server.expire_history()
        self.say("... and the API server's history expires")
        self.say("the watcher is restarted")
        await self._restart("watcher", '"gap repaired"')

    async def _restart(self, name: str, until: str) -> None:
        """Start a process again, and wait until it has got so far: a busy machine may take its time."""
        self.stack.processes.restart(name)
        await self.stack.processes[name].wait_for(until)

    def _announced(self) -> list[Workflow]:
        """Those whose end has been printed."""
        printed = {receipt.partitionkey.rpartition("/")[2] for receipt in self.stack.printed("announce/print")}
        return [workflow for workflow in self.ended if workflow.name in printed]

    async def _wait_for_changes(self, share: float) -> None:
        count = int(share * COUNT * CHANGES_EACH)
        await until(lambda: len(self.writer.changes) >= count, 60, f"{count} changes")

    async def show(self) -> None:
        """Print the progress every few seconds until cancelled."""
        while True:
            await asyncio.sleep(3.0)
            self.say(", ".join(f"{what} {done} of {total}" for what, done, total in self._progress()))

    def _progress(self) -> list[tuple[str, int, int]]:
        changes = COUNT * CHANGES_EACH + DELETED
        received = self.stack.received.read_bytes().count(b"\n")
        return [
            ("changes made", len(self.writer.changes), changes),
            ("received", received, changes),
            ("workflows ended", len(self.ended), COUNT),
        ]

    async def judge(self) -> Mapping[str, Report]:
        """The comparison for each Sensor."""
        changed, completed = await self.stack.gaps("workflows/changed"), await self.stack.gaps("workflows/completed")
        absences, changes = self.stack.absences, self.writer.changes
        posted, printed = self.stack.receipts("track/post"), self.stack.printed("announce/print")
        return {
            "every change, by HTTP": audit(changes, posted, changed, absences=absences, window=ACK_WAIT),
            "ended ones, to the log": audit(
                changes, printed, completed, expected=has_ended, absences=absences, window=ACK_WAIT
            ),
        }

    def unusual(self) -> list[str]:
        """What did not happen to most objects, by the events that came by HTTP; a line for each such object."""
        return [
            f"{workflow}: {'; '.join(texts)}"
            for workflow, texts in sorted(_unusual(self.writer.changes, self.stack.receipts("track/post")).items())
        ]


def _unusual(changes: Sequence[Change], receipts: Sequence[Receipt]) -> dict[str, list[str]]:
    told = {(receipt.uid, receipt.version) for receipt in receipts}
    made = Counter(change.partitionkey for change in changes)
    missed = Counter(c.partitionkey for c in changes if c.action != "DELETE" and (c.uid, c.version) not in told)
    keys = Counter((receipt.partitionkey, receipt.key) for receipt in receipts)
    repeats: Counter[str] = Counter()
    for (workflow, _), times in keys.items():
        repeats[workflow] += times - 1
    found: dict[str, list[str]] = {workflow: [] for workflow in made}
    for workflow, texts in found.items():
        if count := missed[workflow]:
            texts.append(f"{count} of {made[workflow]} changes were collapsed; the newest state arrived")
        if any(r.partitionkey == workflow and r.action == "DELETE" and r.synthetic for r in receipts):
            texts.append("its deletion was found by comparing a list with the inventory")
        if repeats[workflow]:
            texts.append(f"{repeats[workflow]} delivered twice, because the worker was killed in between")
    return {workflow: texts for workflow, texts in found.items() if texts}


def has_ended(change: Change) -> bool:
    """Whether the entry `completed` of the EventSource selects the change."""
    return change.action != "DELETE" and change.body.get("status", {}).get("phase") in ENDED


async def demo(directory: Path) -> bool:
    """Run the demo. True if no event was lost and all arrived in order."""
    manifests = directory / "manifests"
    shutil.copytree(HERE, manifests, ignore=shutil.ignore_patterns("*.py", "*.md", "__pycache__"))
    async with open_server("simulator", directory) as server:
        with Processes(directory) as processes:
            stack = Stack(directory, server, processes, manifests, SqliteFile(directory / "kubecdc.db"))
            url = await stack.start_receiver()
            sensor = manifests / "sensor-http.yaml"
            sensor.write_text(sensor.read_text().replace(SHIPPED_URL, f"{url}/workflows"))
            stack.start_watcher("watcher")
            stack.start_worker("worker-1")
            stack.start_worker("worker-2")
            await stack.ready()
            await stack.behave(Behaviour(delay=0.1, seconds=600))  # so that a killed worker has events in progress
            async with Api(stack.kubeconfig) as api:
                demo = Demo(stack, Writer(api, WORKFLOWS), random.Random(60))
                progress = asyncio.create_task(demo.show())
                try:
                    await demo.run()
                finally:
                    progress.cancel()
                reports = await demo.judge()
                unusual = demo.unusual()
    print(told(reports, unusual))
    return all(report.ok and report.deletions_seen == report.deletions_made for report in reports.values())


def told(reports: Mapping[str, Report], unusual: Sequence[str]) -> str:
    """The reports as a table, and what its words mean for which objects."""
    columns = [dict(report.rows()) for report in reports.values()]
    widths = [len(name) for name in reports]
    lines = [" " * 20 + "   ".join(reports)]
    for row in columns[0]:
        numbers = (f"{column[row]:>{width}}" for column, width in zip(columns, widths, strict=True))
        lines.append(f"{row:<20}" + "   ".join(numbers))
    return "\n".join(
        [
            "",
            *lines,
            "",
            "collapsed: the API server had discarded these versions before the watcher was back, so nobody can read",
            "  them any more. The newest state of each object, or its deletion, still arrived, marked `synthetic`.",
            "duplicates: a worker was killed after the receiver had answered, but before it could ack the event. The",
            "  repetition has the same idempotency key.",
            "",
            *(unusual or ["No object was affected by the faults."]),
            *(str(report) for report in reports.values() if not report.ok),
            "",
        ]
    )


def main() -> None:
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    print(f"60 workflows run while kubecdc is killed five times. Logs, queue and manifests: {DIRECTORY}", flush=True)
    if not asyncio.run(demo(DIRECTORY)):
        sys.exit(f"FAILED: an event was lost or out of order; the logs are in {DIRECTORY}")
    print(f"No event was lost or out of order. Logs, queue and manifests are kept in {DIRECTORY}")


if __name__ == "__main__":
    main()
