"""How fast the ``k8s`` trigger creates objects: ``python -m benchmarks.creation KUBECONFIG OBJECTS``.

One process takes events out of its memory through the workers' path, and creates a ConfigMap for each. Beside it, and
in turn, aiohttp alone posts the same bodies.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import msgspec
import uvloop

from benchmarks import setup
from benchmarks.brokers import Missing
from benchmarks.bus import event
from benchmarks.sensor import FromMemory, route, sensor
from benchmarks.stage import Stage, staged
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.shared import SharedCluster
from kubecdc.storage.contracts.event import Event
from kubecdc.workers import pipeline
from kubecdc.workers.route import Route
from kubecdc.workers.settings import Settings
from tests.apiserver.real import RealApiServer, assets

ROUNDS = 5  # of both sides, one after the other; the median counts
PATH = "/api/v1/namespaces/default/configmaps"
OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"generateName": "created-"},
    "data": {"seen": "by kubecdc", "settings.yaml": "epochs: 40\nlearningRate: 0.1\n" * 10},
}
NAMES = [
    {"src": {"dependencyName": "change", "dataKey": "body.metadata.name"}, "dest": "data.workflow"},
    {"src": {"dependencyName": "change", "dataKey": "body.status.phase"}, "dest": "data.phase"},
]
Costs = tuple[float, float]  # objects a second, microseconds of CPU for each


async def rates(objects: int) -> tuple[float, float]:
    """Objects a second on a real API server. Raises Missing."""
    if assets() is None:
        raise Missing("KUBEBUILDER_ASSETS does not name the binaries of a real API server")
    with staged(redis=False) as stage:
        server = RealApiServer(stage.folder / "server")
        await server.start()
        try:
            server.kubeconfig(stage.folder / "kubeconfig")
            found = await _measured(stage, objects)
        finally:
            await server.stop()
    return found["rate"], found["bare_rate"]


async def costs(objects: int) -> tuple[float, float]:
    """Microseconds of CPU for each object, on the simulator, which takes none of the client's."""
    with staged(redis=False) as stage:
        await stage.served("tests.apiserver", "--kubeconfig", str(stage.folder / "kubeconfig"))
        found = await _measured(stage, objects)
    return found["cpu"], found["bare_cpu"]


async def _measured(stage: Stage, objects: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "benchmarks.creation", str(stage.folder / "kubeconfig"), str(objects)]
    return await stage.programs.start("creation", argv, piped=True).decoded()


async def _timed(work: Callable[[], Awaitable[None]], objects: int) -> Costs:
    begun, used = time.perf_counter(), time.process_time()
    await work()
    return objects / (time.perf_counter() - begun), (time.process_time() - used) / objects * 1e6


async def _ours(found: Route, events: Sequence[Event]) -> None:
    await pipeline.consume(FromMemory(events), found, Settings(), stop=asyncio.Event())


async def _bare(session: aiohttp.ClientSession, url: str, bodies: Sequence[bytes], **how: Any) -> None:
    left = iter(bodies)

    async def one_after_the_other() -> None:
        for body in left:
            async with session.post(url, data=body, **how) as answer:
                await answer.read()
                assert answer.status == 201

    await asyncio.gather(*(one_after_the_other() for _ in range(Settings.concurrency)))


def _bodies(found: Route, events: Sequence[Event]) -> list[bytes]:
    """What the trigger would send, under other names."""
    bodies = []
    for each in events:
        request = found.request(each)
        body = request.mark.on(request.document, "1764000000000")
        body["metadata"]["name"] = f"bare-{body['metadata']['name']}"
        bodies.append(msgspec.json.encode(body))
    return bodies


async def main(kubeconfig: Path, objects: int) -> None:
    create = {"source": {"resource": OBJECT}, "parameters": NAMES}
    async with aclosing(SharedCluster(lambda: cluster)) as shared:
        cluster = Cluster(str(kubeconfig))
        found = route(sensor({}, {"k8s": create}), cluster=shared)
        settings = await cluster._rotation.current()
        headers = dict(settings.headers) | {"Content-Type": "application/json"}
        url = str(settings.configuration.server.at(PATH))
        connector = aiohttp.TCPConnector(limit=0)
        setup.begin()
        ours: list[Costs] = []
        bare: list[Costs] = []
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            for start in range(0, ROUNDS * objects, objects):
                events = [event(number, number) for number in range(start, start + objects)]
                bodies = _bodies(found, events)
                ours.append(await _timed(lambda: _ours(found, events), objects))  # noqa: B023 - awaited here
                post = _bare(session, url, bodies, headers=headers, ssl=settings.tls)
                bare.append(await _timed(lambda: post, objects))  # noqa: B023
    rate, cpu = (median(side) for side in zip(*ours, strict=True))
    bare_rate, bare_cpu = (median(side) for side in zip(*bare, strict=True))
    print(msgspec.json.encode({"rate": rate, "cpu": cpu, "bare_rate": bare_rate, "bare_cpu": bare_cpu}).decode())


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
