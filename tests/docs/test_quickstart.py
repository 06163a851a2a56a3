"""docs/quickstart.md, followed by somebody: its manifest, its receiver, and what it says that is seen."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.apiserver import simulator
from tests.cli.rig import Desk
from tests.docs import shell
from tests.docs.blocks import ROOT, blocks_of
from tests.harness.processes import printing
from tests.ports import free_port

PAGE = ROOT / "docs" / "quickstart.md"
BLOCKS = list(blocks_of(PAGE, PAGE.read_text()))
COMMANDS = [command for block in BLOCKS if block.language == "sh" for command in shell.commands(block.text)]
DEPLOYMENTS = ("apps", "v1", "deployments", "default")


@asynccontextmanager
async def receiver(folder: Path, seen: list[str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "receiver.py"), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    async with printing(process, seen):
        yield


async def until(seen: list[str], pattern: str) -> None:
    async with asyncio.timeout(60):
        while not any(re.match(pattern, line) for line in seen):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def deployment(replicas: int) -> dict[str, object]:
    labels = {"app": "hello"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "pause", "image": "pause"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"}, "spec": spec}


async def test_who_follows_the_page_sees_what_it_says(tmp_path: Path) -> None:
    [manifest] = [block.text for block in BLOCKS if block.language == "yaml"]
    [program] = [block.text for block in BLOCKS if block.language == "python"]
    port = str(free_port())
    shutil.copytree(ROOT / "examples" / "deployments", tmp_path / "examples" / "deployments")
    (tmp_path / "receiver.py").write_text(program.replace("8080", port))
    (tmp_path / "sensor.yaml").write_text(manifest.replace("8080", port))
    assert ["kubecdc", "run", "-f", "examples/deployments"] in COMMANDS
    assert ["kubecdc", "run", "-f", "examples/deployments", "-f", "sensor.yaml"] in COMMANDS
    seen: list[str] = []
    async with simulator() as api:
        desk = Desk(tmp_path, api)
        desk.manifests = Path("examples/deployments")
        async with desk.running("run") as running:
            await running.until('"listed"')
            await api.create(*DEPLOYMENTS, deployment(1))
            await running.until('"type":"ADD".*"name":"hello"', out=True)
        async with receiver(tmp_path, seen), desk.running("run", "-f", "sensor.yaml") as running:
            await running.until('"leading"')
            await api.patch(*DEPLOYMENTS, "hello", {"spec": {"replicas": 2}})
            await until(seen, r"UPDATE hello \S")
        await api.delete(*DEPLOYMENTS, "hello")
        async with desk.running("run", "-f", "sensor.yaml") as running:
            await running.until("trigger-failed")
            async with receiver(tmp_path, seen):
                await until(seen, r"DELETE hello \S")
            done = await desk.call("status", "-f", "sensor.yaml")
            assert "subscription/tell/receiver" in done.out, done.err
