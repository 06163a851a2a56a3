"""kubectl, whichever is on PATH, against the simulator."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver import CONFIGMAPS, WORKFLOWS, LocalSimulator, RequestFailed, simulator, workflow

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl on PATH")


class Kubectl:
    """kubectl with a kubeconfig and a cache of its own."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.folder = folder
        self._flags = ["--kubeconfig", str(kubeconfig), "--cache-dir", str(folder / "cache")]

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        assert KUBECTL
        return await asyncio.create_subprocess_exec(
            KUBECTL,
            *self._flags,
            *args,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(self.folder)},
        )

    async def run(self, *args: str, code: int = 0) -> str:
        """What it printed; AssertionError where it ended otherwise than with ``code``."""
        process = await self.start(*args)
        printed, complaints = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == code, f"kubectl {' '.join(args)} ended with {process.returncode}: {complaints!r}"
        return (printed if code == 0 else complaints).decode()

    async def apply(self, *bodies: dict[str, Any], flags: tuple[str, ...] = (), code: int = 0) -> str:
        path = self.folder / "applied.yaml"
        path.write_text(yaml.safe_dump_all(bodies))
        return await self.run("apply", "--validate=false", *flags, "-f", str(path), code=code)


@asynccontextmanager
async def kubectl(folder: Path, **settings: Any) -> AsyncIterator[tuple[LocalSimulator, Kubectl]]:
    async with simulator(**settings) as api:
        yield api, Kubectl(folder, api.kubeconfig(folder / "kubeconfig"))


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


async def test_kubectl_reads_what_is_there(tmp_path: Path) -> None:
    async with kubectl(tmp_path, tokens=["secret"], tls=tmp_path) as (api, run):
        for name in ("one", "two"):
            await api.create(*WORKFLOWS, "default", workflow(name, labels={"half": name}, size=1))
        table = [line.split() for line in (await run.run("get", "wf", "--show-labels")).splitlines()]
        assert [row[0] for row in table] == ["NAME", "one", "two"]
        assert table[0] == ["NAME", "AGE", "LABELS"]
        assert table[1][2] == "half=one"
        assert await run.run("get", "workflows.argoproj.io", "-A", "-l", "half=two", "-o", "name") == (
            "workflow.argoproj.io/two\n"
        )
        assert json.loads(await run.run("get", "wf", "one", "-o", "json"))["spec"] == {"size": 1}
        assert (await run.run("get", "wf", "--sort-by=.metadata.name")).split()[0] == "NAME"
        resources = await run.run("api-resources", "--api-group=argoproj.io", "--no-headers")
        assert resources.split()[0] == "workflows"
        assert "v1.34" in await run.run("version")
        assert "NotFound" in await run.run("get", "wf", "none", code=1)


async def test_kubectl_writes_and_deletes(tmp_path: Path) -> None:
    async with kubectl(tmp_path) as (api, run):
        # Client-side apply: created, unchanged, then patched; by merge patch and, of a ConfigMap, by strategic patch.
        assert "one created" in await run.apply(workflow("one", size=1), config_map(a="1", b="1"))
        assert "one unchanged" in await run.apply(workflow("one", size=1), config_map(a="1", b="1"))
        assert "one configured" in await run.apply(workflow("one", size=2), config_map(a="2"))
        assert (await api.get(*WORKFLOWS, "default", "one"))["spec"] == {"size": 2}
        assert (await api.get(*CONFIGMAPS, "default", "settings"))["data"] == {"a": "2"}
        await run.run("label", "wf", "one", "track=yes")
        await run.run("patch", "wf", "one", "--type=merge", "-p", '{"spec": {"size": 3}}')
        await run.run("patch", "wf", "one", "--type=json", "-p", '[{"op": "add", "path": "/spec/more", "value": 1}]')
        await run.run("patch", "configmap", "settings", "-p", '{"data": {"c": "3"}}')
        one = await api.get(*WORKFLOWS, "default", "one")
        assert (one["spec"], one["metadata"]["labels"]) == ({"size": 3, "more": 1}, {"track": "yes"})
        assert (await api.get(*CONFIGMAPS, "default", "settings"))["data"] == {"a": "2", "c": "3"}
        await run.run("create", "--validate=false", "-f", str(_written(tmp_path, workflow("two", size=1))))
        assert "AlreadyExists" in await run.run("create", "--validate=false", "-f", str(tmp_path / "two.yaml"), code=1)
        # It waits until the object is gone.
        assert 'workflow.argoproj.io "one" deleted' in await run.run("delete", "wf", "one")
        assert 'workflow.argoproj.io "two" deleted' in await run.run("delete", "-f", str(tmp_path / "two.yaml"))
        with pytest.raises(RequestFailed, match="404"):
            await api.get(*WORKFLOWS, "default", "one")


def _written(folder: Path, body: dict[str, Any]) -> Path:
    path = folder / f"{body['metadata']['name']}.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


async def test_kubectl_applies_on_the_server_and_is_told_of_conflicts(tmp_path: Path) -> None:
    async with kubectl(tmp_path) as (api, run):
        flags = ("--server-side", "--field-manager=one")
        assert "serverside-applied" in await run.apply(workflow("one", size=1, other=1), flags=flags)
        theirs = ("--server-side", "--field-manager=two")
        refused = await run.apply(workflow("one", size=2), flags=theirs, code=1)
        assert 'conflict with "one": .spec.size' in refused
        await run.apply(workflow("one", size=2), flags=(*theirs, "--force-conflicts"))
        assert (await api.get(*WORKFLOWS, "default", "one"))["spec"] == {"size": 2, "other": 1}
        await run.apply(workflow("one"), flags=flags)  # what it applied before and nobody else owns is removed
        assert (await api.get(*WORKFLOWS, "default", "one"))["spec"] == {"size": 2}


async def test_kubectl_watches(tmp_path: Path) -> None:
    async with kubectl(tmp_path) as (api, run):
        await api.create(*WORKFLOWS, "default", workflow("one", size=1))
        watching = await run.start("get", "wf", "-w", "--output-watch-events", "--no-headers")
        assert watching.stdout

        async def line() -> list[str]:
            assert watching.stdout
            return (await asyncio.wait_for(watching.stdout.readline(), 20)).decode().split()[:2]

        try:
            assert await line() == ["ADDED", "one"]
            await api.patch(*WORKFLOWS, "default", "one", {"spec": {"size": 2}})
            assert await line() == ["MODIFIED", "one"]
            await api.create(*WORKFLOWS, "default", workflow("two", size=1))
            assert await line() == ["ADDED", "two"]
            await api.delete(*WORKFLOWS, "default", "one")
            assert await line() == ["DELETED", "one"]
        finally:
            watching.terminate()
            await watching.communicate()


async def test_kubectl_is_refused_what_rbac_does_not_allow(tmp_path: Path) -> None:
    async with simulator(rbac=True, tls=tmp_path) as api:
        run = Kubectl(tmp_path, await api.kubeconfig_of(tmp_path / "kubeconfig", "carol"))
        message = await run.run("get", "wf", code=1)
        assert 'workflows.argoproj.io is forbidden: User "carol" cannot list resource "workflows"' in message
