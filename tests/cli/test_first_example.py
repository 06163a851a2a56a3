"""The start that the README shows: Deployments to the log, without any preparation of the cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from tests.apiserver import LocalSimulator, RealApiServer
from tests.cli.rig import Desk

EXAMPLE = Path(__file__).parents[2] / "examples" / "deployments" / "manifests.yaml"
DEPLOYMENTS = ("apps", "v1", "deployments")


def deployment(name: str) -> dict[str, object]:
    labels = {"app": name}
    containers = [{"name": "main", "image": "example.com/none"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def told(out: str) -> list[tuple[str, str]]:
    """What was printed: each change and its object, the updates of controllers left out."""
    found = []
    for line in out.splitlines():
        data = msgspec.json.decode(line)["data"]
        if data["type"] != "UPDATE":
            found.append((data["type"], data["body"]["metadata"]["name"]))
    return found


async def started(desk: Desk, api: LocalSimulator | RealApiServer) -> None:
    """What the README says: run, stop, delete a Deployment, run again."""
    for file in desk.manifests.iterdir():
        file.unlink()
    shutil.copy(EXAMPLE, desk.manifests)
    for name in ("one", "two"):
        await api.create(*DEPLOYMENTS, "default", deployment(name))
    async with desk.running("run") as process:
        for name in ("one", "two"):
            await process.until(f'"name":"{name}"', out=True, seconds=40)
    assert {("ADD", "one"), ("ADD", "two")} <= set(told(process.out))
    await api.delete(*DEPLOYMENTS, "default", "one")
    async with desk.running("run") as process:
        await process.until('"type":"DELETE"', out=True, seconds=40)
    assert told(process.out) == [("DELETE", "one")]


async def test_the_first_example_runs_without_any_preparation(desk: Desk) -> None:
    await started(desk, desk.api)


async def test_the_first_example_runs_on_a_real_api_server(tmp_path: Path, real_api: RealApiServer) -> None:
    try:
        desk = Desk(tmp_path, real_api)  # type: ignore[arg-type] # both are clients of a server
        await started(desk, real_api)
    finally:
        await real_api.close()
