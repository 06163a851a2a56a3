"""``make demo``: sixty workflows run while the watcher and the workers are killed and the API server's history expires.

`kubecdc watch`, two `kubecdc work` and an HTTP receiver run as separate processes, with the manifests of this folder.
Only the cluster is simulated, by the API server of the tests. At the end, the changes that the API server committed are
compared with the events that arrived. Exits with 1 if an event was lost or out of order.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tests.harness.api import WORKFLOWS, Api
from tests.harness.buses import SqliteFile
from tests.harness.ledger import Change, Report, audit
from tests.harness.processes import Processes, until
from tests.harness.receiver import Behaviour
from tests.harness.servers import open_server
from tests.harness.stack import Stack
from tests.harness.writer import Writer

HERE = Path(__file__).parent
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
    console: Console
    rng: random.Random
    ended: list[Workflow] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print a line with the elapsed time."""
        self.console.print(f"{time.monotonic() - self.began:5.1f} s  {text}", highlight=False)

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
            self.stack.processes.restart(victim)
        await self._wait_for_changes(0.6)
        await self.stack.kill("watcher")
        self.say("kill -9 watcher, without a restart")
        for workflow in self.ended[:DELETED]:
            await self.writer.delete(workflow.namespace, workflow.name)
        self.say("meanwhile five workflows are deleted ...")
        await self._wait_for_changes(0.7)
        await self.stack.server.expire_history()
        self.say("... and the API server's history expires")
        self.stack.processes.restart("watcher")
        self.say("the watcher is restarted")

    async def _wait_for_changes(self, share: float) -> None:
        count = int(share * COUNT * CHANGES_EACH)
        await until(lambda: len(self.writer.changes) >= count, 60, f"{count} changes")

    async def show(self) -> None:
        """Show the progress until cancelled: bars on a terminal, otherwise a line every few seconds."""
        if not self.console.is_terminal:
            while True:
                await asyncio.sleep(3.0)
                self.say(", ".join(f"{what} {done} of {total}" for what, done, total in self._progress()))
        columns = TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, console=self.console, transient=True) as bars:
            tasks = [bars.add_task(what, total=total) for what, _, total in self._progress()]
            while True:
                for task, (_, done, _) in zip(tasks, self._progress(), strict=True):
                    bars.update(task, completed=done)
                await asyncio.sleep(0.15)

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


def has_ended(change: Change) -> bool:
    """Whether the entry `completed` of the EventSource selects the change."""
    return change.action != "DELETE" and change.body.get("status", {}).get("phase") in ENDED


async def demo(directory: Path, console: Console) -> bool:
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
                demo = Demo(stack, Writer(api, WORKFLOWS), console, random.Random(60))
                progress = asyncio.create_task(demo.show())
                try:
                    await demo.run()
                finally:
                    progress.cancel()
                reports = await demo.judge()
    console.print(table(reports))
    for report in reports.values():
        if not report.ok:
            console.print(str(report), highlight=False)
    return all(report.ok and report.deletions_seen == report.deletions_made for report in reports.values())


def table(reports: Mapping[str, Report]) -> Table:
    """The reports as one table, with a column for each."""
    table = Table("", *reports)
    columns = [dict(report.rows()) for report in reports.values()]
    for row in columns[0]:
        table.add_row(row, *(str(column[row]) for column in columns))
    return table


def main() -> None:
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="kubecdc-demo-"))
    console.print(f"logs, queue and manifests: {directory}", highlight=False, soft_wrap=True)
    if not asyncio.run(demo(directory, console)):
        raise SystemExit(f"FAILED: an event was lost or out of order; the logs are in {directory}")
    shutil.rmtree(directory)
    console.print("No event was lost or out of order.")


if __name__ == "__main__":
    main()
