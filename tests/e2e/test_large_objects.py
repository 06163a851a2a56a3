"""Memory with large objects: the limit of the Deployments in `deploy/` holds, with many watches and subscriptions.

``KUBECDC_LARGE_OBJECTS`` sets how many objects there are (40).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.apiserver import WORKFLOWS, LocalSimulator, simulator, workflow
from tests.cli.rig import REDIS_BUS, SENSOR, Desk, Running
from tests.harness.processes import memory, until
from tests.storage.redis_server import RedisServer, require

OBJECTS = int(os.environ.get("KUBECDC_LARGE_OBJECTS", "40"))
SIZE = 1_400_000  # bytes; etcd takes 1.5 MiB
ENTRIES = 4
TRIGGERS = 5  # of each
NAMESPACES = 150
PODS = Path(__file__).parents[2] / "deploy" / "kustomize" / "components" / "replicated"


def limit(name: str) -> int:
    """The memory limit of a Deployment, in bytes."""
    found = re.search(r"limits: \{memory: (\d+)Mi\}", (PODS / name).read_text())
    assert found
    return int(found[1]) << 20


def manifests(url: str) -> str:
    group, version, resource = WORKFLOWS
    fields = {"group": group, "version": version, "resource": resource, "eventTypes": ["ADD", "UPDATE", "DELETE"]}
    documents: list[dict[str, object]] = []
    for entry in range(ENTRIES):
        source = {"metadata": {"name": f"source-{entry}"}, "spec": {"resource": {"changed": fields}}}
        dependency = {"name": "change", "eventSourceName": f"source-{entry}", "eventName": "changed"}
        triggers = [{"template": {"name": f"t-{n}", "http": {"url": url, "timeout": 60}}} for n in range(TRIGGERS)]
        sensor = {"metadata": {"name": f"s-{entry}"}, "spec": {"dependencies": [dependency], "triggers": triggers}}
        for kind, body in (("EventSource", source), ("Sensor", sensor)):
            documents.append({"apiVersion": "argoproj.io/v1alpha1", "kind": kind, **body})
    return yaml.safe_dump_all(documents)


class Silent:
    """A receiver that answers nobody. ``waiting`` counts the requests."""

    def __init__(self) -> None:
        self.url = ""
        self.waiting = 0
        self._over = asyncio.Event()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        self.waiting += 1
        await self._over.wait()
        writer.transport.abort()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        try:
            yield
        finally:
            self._over.set()
            server.close()


async def fill(api: LocalSimulator) -> None:
    text = "x" * SIZE
    for n in range(OBJECTS):
        await api.create(*WORKFLOWS, "default", workflow(f"w-{n}", text=text))


@pytest.fixture(params=["sqlite", "redis"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    async with simulator(managed_fields=False) as api:
        desk = Desk(tmp_path, api)
        for name in ("source.yaml", "sensor.yaml"):
            (desk.manifests / name).unlink()
        if request.param == "sqlite":
            yield desk
            return
        require()
        server = RedisServer(tmp_path, "--appendonly", "no")
        server.start()
        try:
            desk.write("bus.yaml", REDIS_BUS.format(url=server.url))
            yield desk
        finally:
            server.kill()


def listed(watch: Running) -> bool:
    assert watch.process.returncode is None, watch.err
    return watch.err.count('"event":"listed"') == ENTRIES


@pytest.mark.long
@pytest.mark.timeout(120 + 4 * OBJECTS)
async def test_large_objects_fit_into_the_limit_of_the_deployments(desk: Desk) -> None:
    """Four lists at a time, and twenty triggers whose receiver does not answer."""
    await fill(desk.api)
    silent = Silent()
    async with silent.running():
        desk.write("all.yaml", manifests(silent.url))
        async with desk.running("watch", "--no-leader-election") as watch:
            await until(lambda: listed(watch), 60 + 2 * OBJECTS, "the lists")
            watcher = memory(watch.process.pid, peak=True)
        async with desk.running("work") as work:
            await until(lambda: silent.waiting >= ENTRIES * TRIGGERS, 60, "a request of each trigger")
            quiet = -1
            while quiet != silent.waiting:
                quiet = silent.waiting
                await asyncio.sleep(2)
            worker = memory(work.process.pid, peak=True)
            assert work.process.returncode is None, work.err
    print(f"peak MiB: watcher {watcher >> 20}, worker {worker >> 20} with {silent.waiting} deliveries in flight")
    assert watcher < 0.8 * limit("watcher.yaml")
    assert worker < 0.8 * limit("workers.yaml")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "blocked",
    [
        pytest.param(False, id="nothing blocked"),
        pytest.param(True, id="commits blocked at first", marks=pytest.mark.long),
    ],
)
async def test_a_large_object_in_each_namespace_fits_into_the_limit(tmp_path: Path, blocked: bool) -> None:
    """Each namespace has a watch of its own. One that has no room waits, and one that has nothing to do holds
    nothing."""
    async with simulator(managed_fields=False) as api:
        desk = Desk(tmp_path, api)
        namespaces = [f"ns-{n}" for n in range(NAMESPACES)]
        await api.make_namespaces(*namespaces)
        desk.entry(namespaces=namespaces)
        if blocked:
            (desk.manifests / "sensor.yaml").unlink()
        async with desk.running("watch", "--no-leader-election") as watch:
            await until(lambda: watch.err.count('"event":"listed"') == NAMESPACES, 60, "the lists")
            text = "x" * SIZE
            for namespace in namespaces:
                await api.create(*WORKFLOWS, namespace, workflow("w", text=text))
            if blocked:
                await watch.until("nobody subscribes")
                desk.write("sensor.yaml", SENSOR)
            async with asyncio.timeout(90):
                while sum(row["objects"] for row in await desk.rows("checkpoint", "show")) < NAMESPACES:
                    assert watch.process.returncode is None, watch.err
            peak = memory(watch.process.pid, peak=True)
    print(f"peak MiB: {peak >> 20}")
    assert peak < 0.8 * limit("watcher.yaml")
