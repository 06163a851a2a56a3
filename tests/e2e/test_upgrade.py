"""From the previous version to this one: it goes on with the files and keys of that one, also while that still runs.

There is no release yet. So the previous version is a commit, whose wheel is built and installed beside this version's
dependencies.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.harness.api import WORKFLOWS, Api
from tests.harness.back_end import BackEnd
from tests.harness.buses import open_bus
from tests.harness.load import Load
from tests.harness.processes import Processes, until
from tests.harness.receiver import Behaviour
from tests.harness.servers import Server
from tests.harness.stack import KUBECDC, WORKER_LOG, Stack
from tests.harness.trial import KEY, SUBSCRIPTION, manifests, verdict
from tests.harness.writer import Writer

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
PREVIOUS = (
    "f3fa063578cf26b65b2be6f002211c5c745fa21e"  # the last commit before metrics: the tag of a release takes its place
)
SEED = int(os.environ.get("KUBECDC_SEED", "1"))
REFUSED = "workflows.argoproj.io/default/refused"
PAIR = {
    "apiVersion": "kubecdc.io/v1alpha1",
    "kind": "Sensor",
    "metadata": {"name": "pair"},
    "spec": {
        "dependencies": [
            {
                "name": name,
                "eventSourceName": "workflows",
                "eventName": "changed",
                "filters": {"data": [{"path": "body.metadata.name", "type": "string", "value": [f"half-{name}"]}]},
            }
            for name in ("one", "other")
        ],
        "triggers": [{"template": {"name": "print", "conditions": "one && other", "log": {}}}],
    },
}


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its `kubecdc`. In a copy without the whole history the tests are skipped."""
    shallow = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True, check=False
    )
    if shallow.stdout.strip() != b"false":
        pytest.skip("the previous version cannot be had: this is no clone with the whole history")
    found = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        why = f"the previous version cannot be had: git archive {PREVIOUS}: {found.stderr.decode().strip()}"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder / "source", filter="data")
    python = folder / "venv" / "bin" / "python"
    for command in (
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, folder / "source"],
        [sys.executable, "-m", "venv", "--without-pip", folder / "venv"],
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--find-links",
            folder,
            "kubecdc",
        ],
    ):
        subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, check=True, timeout=120)
    (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (own / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    asked = "import kubecdc.watcher, sys; sys.stdout.write(kubecdc.watcher.__file__)"
    used = subprocess.run([python, "-c", asked], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert Path(used).is_relative_to(own), f"{used} is not of the previous version"
    return str(python.with_name("kubecdc"))


async def raised(folder: Path, server: Server, processes: Processes, bus: BackEnd, program: str) -> Stack:
    """A stack of which this process does not open the bus: that would upgrade it."""
    (folder / "manifests").mkdir()
    stack = Stack(folder, server, processes, folder / "manifests", bus, program)
    url = await stack.start_receiver()
    (stack.manifests / "all.yaml").write_text(yaml.safe_dump_all([*manifests(url, bus), PAIR]))
    return stack


async def captured(stack: Stack, version: int) -> None:
    """Wait until the watch has passed the version, as the command of the stack's version says."""
    async with asyncio.timeout(180):
        while True:
            rows = msgspec.json.decode(
                await stack.run("checkpoint", "show", "-o", "json"), type=list[dict[str, object]]
            )
            if any(row["key"] == KEY and int(str(row["position"] or 0)) >= version for row in rows):
                return


def delivered(stack: Stack, writer: Writer) -> bool:
    """All states that were written have come, but that which is refused."""
    came = {(receipt.uid, receipt.version) for receipt in stack.receipts(SUBSCRIPTION)}
    return came >= {(change.uid, change.version) for change in writer.changes if change.action != "DELETE"}


def pairs(stack: Stack) -> int:
    """How often the trigger with conditions ran."""
    log = stack.directory / WORKER_LOG
    return log.read_text().count('"sensor":"pair"') if log.exists() else 0


@pytest.mark.parametrize("kind", ["sqlite", "redis", "rq"])
async def test_what_the_previous_version_left_when_it_was_killed_is_taken_over(
    kind: str, previous: str, simulator: Server, tmp_path: Path
) -> None:
    """Position, inventory, backlog, a dead letter, and a condition that is half met."""
    with Processes(tmp_path) as processes:
        async with open_bus(kind, processes, tmp_path) as bus:
            stack = await raised(tmp_path, simulator, processes, bus, previous)
            stack.start_watcher()
            stack.start_worker()
            async with Api(stack.kubeconfig) as api:
                writer = Writer(api, WORKFLOWS)
                await stack.behave(Behaviour(status=400, partitionkey=REFUSED, seconds=600))
                for name in ("refused", "half-one"):
                    await writer.create("default", name, {"spec": {}})
                await until(lambda: len(stack.receipts(SUBSCRIPTION)) >= 2, 180, "the first list")
                await Load(seed=SEED, objects=50, changes=300).run(writer)
                await until(lambda: delivered(stack, writer), 180, "what was made first")
                await stack.behave(Behaviour(status=503, seconds=600))
                await Load(seed=SEED + 1, objects=50, changes=200).run(writer)
                await captured(stack, writer.version)
                for name in ("watcher-1", "worker-1"):
                    await stack.kill(name)
                await Load(seed=SEED + 2, objects=50, changes=100).run(writer)

                await stack.behave(Behaviour())
                stack.program = KUBECDC
                stack.start_watcher()
                stack.start_worker()
                await stack.settle(writer.version)
                letters = msgspec.json.decode(
                    await stack.run("dlq", "list", "-o", "json"), type=list[dict[str, object]]
                )
                assert [letter["object"] for letter in letters] == [REFUSED], letters
                await stack.run("dlq", "redrive", "--all", "--superseded", "deliver")
                assert pairs(stack) == 0
                await writer.create("default", "half-other", {"spec": {}})
                report = await verdict(stack, writer)
    print(f"seed {SEED}\n{report}")
    assert report.ok, str(report)
    assert (report.delivered, report.collapsed, report.synthetic) == (report.made, 0, 0)
    assert not report.unexplained, str(report)
    assert pairs(stack) == 1


async def test_an_upgrade_under_load_replaces_one_process_at_a_time_and_nobody_notices(
    previous: str, simulator: Server, tmp_path: Path
) -> None:
    with Processes(tmp_path) as processes:
        async with open_bus("redis", processes, tmp_path) as bus:
            stack = await raised(tmp_path, simulator, processes, bus, previous)
            old = [("watcher-1", stack.start_watcher), ("watcher-2", stack.start_watcher)]
            old += [("worker-1", stack.start_worker), ("worker-2", stack.start_worker)]
            for name, start in old:
                start(name)
            async with Api(stack.kubeconfig) as api, asyncio.TaskGroup() as group:
                writer, upgraded, ends = Writer(api, WORKFLOWS), asyncio.Event(), []
                await writer.create("default", "before", {"spec": {}})
                await until(lambda: stack.receipts(SUBSCRIPTION), 180, "the first list")
                load = Load(seed=SEED, objects=100, changes=800, rate=50)
                loading = group.create_task(load.run(writer, longer=lambda: not upgraded.is_set()))
                stack.program = KUBECDC
                for name, start in reversed(old):
                    await more(writer, 100)
                    await start(f"new-{name}").wait_for("standing by" if "watcher" in name else '"bus"', 180)
                    ends.append(await processes[name].stop())
                await more(writer, 100)
                upgraded.set()
                await loading
                report = await verdict(stack, writer)
    print(f"seed {SEED}\n{report}")
    assert ends == [0] * len(old)
    assert report.ok, str(report)
    assert (report.delivered, report.collapsed, report.synthetic) == (report.made, 0, 0)
    assert report.duplicates == [], "nobody died"


async def more(writer: Writer, changes: int) -> None:
    """Wait until the load has made so many more."""
    wanted = len(writer.changes) + changes
    await until(lambda: len(writer.changes) >= wanted, 180, "more changes")
