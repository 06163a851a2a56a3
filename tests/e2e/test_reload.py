"""Manifests are changed twenty times under load, in replicas that read them at different moments: nothing is lost.

``KUBECDC_SEED`` sets the seed of load and order (1).
"""

from __future__ import annotations

import asyncio
import copy
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.api import WORKFLOWS, Api
from tests.harness.buses import open_bus
from tests.harness.load import Load
from tests.harness.processes import Processes
from tests.harness.receiver import Behaviour
from tests.harness.servers import Server
from tests.harness.trial import WATCHERS, WORKERS, raise_stack, verdict
from tests.harness.writer import Writer

SEED = int(os.environ.get("KUBECDC_SEED", "1"))
SWAPS = 20
KILLS = (6, 12)  # swaps in the middle of which the first watcher is killed
SECONDS = 1.5  # between two
RATE = 100.0  # changes a second


def another(documents: list[dict[str, Any]], rng: random.Random, number: int) -> list[dict[str, Any]]:
    """The manifests with other entries and triggers beside, or in another version, of what is judged.

    The last ones have all that there was, so that nothing is left over.
    """
    last = number == SWAPS - 1
    bus, source, sensor = copy.deepcopy(documents)
    (trigger,) = sensor["spec"]["triggers"]
    entry = source["spec"]["resource"]["changed"]
    if rng.random() < 0.6:
        trigger["template"]["http"]["headers"] = {"X-Version": str(number)}
    if rng.random() < 0.4:
        entry["metadata"] = {"version": str(number)}
    if rng.random() < 0.3:  # every object passes it, but the selection is another one
        entry["filter"] = {"labels": [{"key": "nobody-has-it", "operation": "!=", "value": str(number)}]}
    more = [bus, source, sensor]
    if rng.random() < 0.5 or last:
        source["spec"]["resource"]["beside"] = copy.deepcopy(entry)
        other = copy.deepcopy(sensor)
        other["metadata"]["name"] = "beside"
        other["spec"]["dependencies"][0]["eventName"] = "beside"
        more.append(other)
    if rng.random() < 0.2 and not last and number not in KILLS:
        more.append({"kind": "Sensor"})  # a bad one: what ran before goes on
    return more


def write(path: Path, documents: list[dict[str, Any]]) -> None:
    """As a whole, at a moment."""
    new = path.with_suffix(".new")
    new.write_text(yaml.safe_dump_all(documents))
    new.rename(path)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_nothing_is_lost_nor_repeated_though_manifests_change_twenty_times(
    simulator: Server, tmp_path: Path, kind: str
) -> None:
    rng = random.Random(f"reload/{SEED}")
    load = Load(seed=SEED, objects=150, changes=int(RATE * SWAPS * SECONDS), rate=RATE)
    with Processes(tmp_path) as processes:
        async with open_bus(kind, processes, tmp_path) as bus:
            # No worker dies, so no claim has to lapse soon, nor may one on a busy machine.
            stack = await raise_stack(tmp_path, simulator, processes, bus, redelivery={})
            await stack.behave(Behaviour(delay=0.05, seconds=600))  # so that a change finds something in flight
            await processes[WORKERS[0]].wait_for('(?s)"code":"bus".*"code":"bus"')  # of both: SIGHUP ends no start
            file = stack.manifests / "all.yaml"
            documents = list(yaml.safe_load_all(file.read_text()))

            async def swap() -> None:
                for number in range(SWAPS):
                    write(file, another(documents, rng, number))
                    for name in rng.sample([*WATCHERS, *WORKERS], rng.randint(1, 4)):  # the others see it later
                        processes[name].signal(signal.SIGHUP)
                        await asyncio.sleep(rng.uniform(0, 0.2))
                    if number in KILLS:
                        await stack.kill(WATCHERS[0])
                        await processes.restart(WATCHERS[0]).wait_for('"code":"bus"')
                    await asyncio.sleep(SECONDS)

            async with Api(stack.kubeconfig) as api:
                writer = Writer(api, WORKFLOWS)
                async with asyncio.TaskGroup() as group:
                    swapping = group.create_task(swap())
                    group.create_task(load.run(writer, longer=lambda: not swapping.done()))
                report = await verdict(stack, writer)
            logs = [processes[name].output() for name in (*WATCHERS, *WORKERS)]
    print(f"seed {SEED}\n{report}")
    assert report.made >= load.changes
    assert report.ok, f"{report}\n{tmp_path}"
    assert report.duplicates == [], "no worker died"
    assert all('"manifests-reloaded"' in log for log in logs)
