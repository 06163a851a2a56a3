"""examples/notify-failures: each failure reaches the service once, whatever is down meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.apiserver import WORKFLOWS, ApiServer, workflow
from tests.cli.rig import Desk
from tests.examples.stage import EXAMPLES, WATCHER, Body, Stage
from tests.harness.processes import printing
from tests.ports import free_port

EXAMPLE = EXAMPLES / "notify-failures"
EARLY, LATE = "2026-01-31T12:00:00Z", "2026-01-31T12:05:00Z"


@asynccontextmanager
async def receiver(port: int, lines: list[str]) -> AsyncIterator[None]:
    """The example's service, in a process of its own. ``lines`` gets what it prints."""
    command = [sys.executable, str(EXAMPLE / "receiver.py"), str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    assert await process.stdout.readline() == f"listening on port {port}\n".encode()
    async with printing(process, lines):
        yield


async def until(lines: list[str], count: int) -> None:
    async with asyncio.timeout(60):
        while len(lines) < count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def failed(finished: str, code: str | None = "2", message: str = "child 'a-2' failed") -> Body:
    """The status of a Workflow of which a pod has failed."""
    outputs = {"outputs": {"exitCode": code}} if code else {}
    nodes = {
        "a": {"displayName": "a", "type": "Steps", "phase": "Failed", "message": "child 'a-2' failed"},
        "a-1": {"displayName": "fetch", "type": "Pod", "phase": "Succeeded", "outputs": {"exitCode": "0"}},
        "a-2": {"displayName": "compile", "type": "Pod", "phase": "Failed", "message": "pod deleted", **outputs},
    }
    return {"phase": "Failed", "finishedAt": finished, "nodes": nodes, **({"message": message} if message else {})}


async def test_each_failure_is_told_once(server: ApiServer, tmp_path: Path) -> None:
    port, lines = free_port(), list[str]()
    stage = Stage(server, tmp_path / "desk", "notify-failures")
    manifest = stage.desk.manifests / "manifests.yaml"
    manifest.write_text(manifest.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    await stage.print_roles()
    await stage.grant(WATCHER)

    async def make(name: str, status: Body) -> None:
        await server.create(*WORKFLOWS, "default", {**workflow(name), "status": status})

    async def change(name: str, **body: Any) -> None:
        await server.patch(*WORKFLOWS, "default", name, body)

    archived = {"labels": {"workflows.argoproj.io/workflow-archiving-status": "Archived"}}
    await make("failed-before", failed(EARLY))
    async with stage.work() as work:
        async with stage.watch() as watch, receiver(port, lines):
            await watch.until("listed")
            await change("failed-before", metadata=archived)
            await make("good", {"phase": "Running"})
            await make("one", {"phase": "Running"})
            await change("good", status={"phase": "Succeeded", "finishedAt": EARLY})
            await change("one", status=failed(EARLY))
            await until(lines, 1)
            await change("one", metadata=archived)
            await change("one", status=dict.fromkeys(failed(EARLY)) | {"phase": "Running"})  # somebody retries it
            await change("one", status=failed(LATE, None, ""))
            await until(lines, 2)
            await make("two", {"phase": "Running"})
        # Now neither the service nor the watcher is there.
        await change("two", status={"phase": "Error", "finishedAt": EARLY, "message": "no such template"})
        await change("two", metadata=archived)
        async with stage.watch():
            await work.until("the trigger failed")
            async with receiver(port, lines):
                await until(lines, 3)
                await change("two", metadata={"labels": {"seen": "true"}})
                await make("last", failed(LATE, "137"))
                await until(lines, 4)
    assert lines == [
        "default/one Failed: child 'a-2' failed, compile exited with 2",
        "default/one Failed: compile pod deleted",
        "default/two Error: no such template",
        "default/last Failed: child 'a-2' failed, compile exited with 137",
    ]
    assert await stage.desk.rows("dlq", "list") == []


async def test_try_tells_a_failure_and_nothing_of_what_follows(desk: Desk) -> None:
    large = json.loads((EXAMPLE / "events" / "failed.json").read_text())
    large["data"] |= {"body": {"metadata": {"name": "large", "namespace": "ci", "uid": "u"}}, "oldBody": None}
    file = desk.folder / "large.json"
    file.write_text(json.dumps(large))
    events = [f"--event={EXAMPLE}/events/{name}.json" for name in ("failed", "archived")]
    done = await desk.call("try", "-f", str(EXAMPLE), *events, f"--event={file}", manifests=False)
    assert (done.code, done.err) == (0, "")
    told, archived, large = (json.loads(line)["request"] for line in done.out.splitlines())
    assert archived is None
    assert {field: told["body"][field] for field in ("namespace", "name", "phase", "message")} == {
        "namespace": "ci",
        "name": "build",
        "phase": "Failed",
        "message": "child 'build-2' failed",
    }
    assert told["body"]["nodes"] == [{"name": "compile", "message": "Error (exit code 2)", "exitCode": "2"}]
    assert (large["body"]["name"], large["body"]["phase"], large["body"]["nodes"]) == ("large", "Failed", [])
