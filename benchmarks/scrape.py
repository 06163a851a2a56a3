"""How long Prometheus waits for the metrics of `kubecdc work` with 200 triggers, each with events that wait."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from statistics import median

import yaml

from benchmarks.program import until
from benchmarks.stage import Stage, staged
from kubecdc.storage.contracts import Bus
from kubecdc.storage.testing.actors import Leader, event
from tests.ports import free_port

TRIGGERS = 200
EVENTS = 1000
PAUSE = 2.0  # seconds between two scrapes, in which the numbers of the bus grow old


async def scrapes(count: int, *, redis: bool) -> tuple[float, float]:
    """Milliseconds of a scrape, and of one of a process that exports the same with the library of Prometheus alone."""
    with staged(redis=redis) as stage:
        port = free_port()
        (stage.folder / "manifests.yaml").write_text(_manifests(stage))
        stage.work(f"--metrics-bind-address=127.0.0.1:{port}")
        await until(lambda: b'kubecdc_bus_up{bus="default"} 1' in _text(port), "the bus")
        async with stage.bus() as bus:
            await _commit(bus)
        backlog = b'kubecdc_pending_events{bus="default",subscription="bench/act-0"} %d' % (EVENTS // TRIGGERS)
        await until(lambda: backlog in _text(port), "the backlog")
        ours = await _median(port, count)
        (stage.folder / "metrics").write_bytes(_text(port))
        bare = free_port()
        stage.bare("scrape", "metrics", bare, piped=False)
        await until(lambda: backlog in _text(bare), "the bare process")
        return ours, await _median(bare, count)


def _manifests(stage: Stage) -> str:
    numbers = range(TRIGGERS)
    bus = {"redis": {"url": stage.redis_url}} if stage.redis else {"sqlite": {"path": str(stage.bus_file)}}
    sensor = {
        "dependencies": [{"name": f"d-{n}", "eventSourceName": "bench", "eventName": f"changed-{n}"} for n in numbers],
        "triggers": [
            {"template": {"name": f"act-{n}", "conditions": f"d-{n}", "log": {}}, "paused": True} for n in numbers
        ],
    }
    specs = {"EventBus": ("default", bus), "Sensor": ("bench", sensor)}
    return yaml.safe_dump_all(
        {"apiVersion": "kubecdc.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, (name, spec) in specs.items()
    )


async def _commit(bus: Bus) -> None:
    leader = await Leader.take(bus)
    for start in range(0, EVENTS, 100):
        numbers = range(start, start + 100)
        await leader.commit(*(event(n, f"o-{n}", source="bench", subject=f"changed-{n % TRIGGERS}") for n in numbers))


async def _median(port: int, count: int) -> float:
    seconds = []
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        assert _text(port)
        seconds.append(time.perf_counter() - begun)
    return median(seconds) * 1000


def _text(port: int) -> bytes:
    """Nothing while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            found: bytes = answer.read()
            return found
    except OSError:
        return b""
