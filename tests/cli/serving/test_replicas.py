"""Metrics of several processes on one bus, scraped as Prometheus does, and added up over them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from contextlib import AsyncExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.rig import REDIS_BUS, Desk
from tests.cli.serving.asking import ask
from tests.cli.started import Started
from tests.ports import free_port

COMMANDS = {"leader": "watch", "standby": "watch", "one": "work", "two": "work"}
OBJECTS = 5


class Replica:
    """One process and the port of its metrics."""

    def __init__(self, desk: Desk, name: str, command: str) -> None:
        self.port = free_port()
        given = ["-f", str(desk.manifests), "--metrics-bind-address", f"127.0.0.1:{self.port}", "--log-format", "json"]
        more = {"KUBECONFIG": str(desk.kubeconfig)}
        self.started = Started(desk.folder / name, command, *given, env=more)

    async def scrape(self) -> dict[str, float]:
        """Sums by metric; what cannot be reached has none."""
        found: defaultdict[str, float] = defaultdict(float)
        try:
            _, text = await asyncio.to_thread(ask, self.port, "/metrics")
        except OSError:
            return {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] += sample.value
        return found


async def until_sums(replicas: list[Replica], **wanted: float) -> list[dict[str, float]]:
    """Scrape all until the sums over them are these."""
    found: dict[str, float] = {}
    try:
        async with asyncio.timeout(90):
            while True:
                scraped = [await replica.scrape() for replica in replicas]
                found = {name: sum(one.get(f"kubecdc_{name}", 0) for one in scraped) for name in wanted}
                if found == wanted:
                    return scraped
                await asyncio.sleep(0.2)
    except TimeoutError as e:
        raise AssertionError(f"{found} instead of {wanted}") from e


@pytest.mark.long
async def test_nothing_doubles_in_sums_and_another_takes_over_from_one_that_is_killed(
    desk: Desk, redis_url: str
) -> None:
    desk.write("bus.yaml", REDIS_BUS.format(url=redis_url))
    desk.write(
        "sensor.yaml", (desk.manifests / "sensor.yaml").read_text().replace("log: {}}", "log: {}}, paused: true")
    )
    async with AsyncExitStack() as stack:
        replicas = []
        for name, command in COMMANDS.items():
            replicas.append(Replica(desk, name, command))
            stack.callback(replicas[-1].started.kill)
        await until_sums(replicas, leader=1, bus_up=len(replicas), pending_events_limit=len(replicas) * 1_000_000)
        for number in range(OBJECTS):
            await desk.create(f"w-{number}")
        sums = {"leader": 1.0, "events_total": OBJECTS, "pending_events": OBJECTS}
        scraped = await until_sums(replicas, **sums)
        (exporter,) = [one for one, found in zip(replicas, scraped, strict=True) if "kubecdc_pending_events" in found]
        os.kill(exporter.started.pid, signal.SIGKILL)
        others = [replica for replica in replicas if replica is not exporter]
        await until_sums(others, pending_events=OBJECTS)
