"""Workers that make objects are killed at random: each event makes exactly one.

``KUBECDC_KILLS`` sets the number of SIGKILLs (10), ``KUBECDC_OBJECTS`` that of the events (300), ``KUBECDC_SEED`` the
seed (1).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event, pending
from tests.apiserver.client import client_of
from tests.harness.processes import Process, Processes
from tests.harness.servers import Server
from tests.harness.stack import KUBECDC

KILLS = int(os.environ.get("KUBECDC_KILLS", "10"))
OBJECTS = int(os.environ.get("KUBECDC_OBJECTS", "300"))
SEED = int(os.environ.get("KUBECDC_SEED", "1"))
CONFIGMAPS = ("", "v1", "configmaps")
MANIFESTS = f"""\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec:
  sqlite: {{path: ./bus.db}}
  redelivery: {{ackWait: 2s, backoff: {{duration: 200ms, cap: 1s}}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: make}}
spec:
  dependencies: [{{name: change, eventSourceName: {SOURCE}, eventName: {SUBJECT}}}]
  triggers:
  - template:
      name: object
      k8s:
        source:
          resource: {{apiVersion: v1, kind: ConfigMap, metadata: {{generateName: made-, labels: {{made: "yes"}}}}}}
        parameters: [{{src: {{dependencyName: change, contextKey: id}}, dest: data.event}}]
"""


@pytest.mark.long
@pytest.mark.timeout(120 + 6 * KILLS)
async def test_each_event_makes_exactly_one_object_though_workers_are_killed(server: Server, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    bus = await open_bus(SqliteSettings(path=tmp_path / "bus.db", ack_wait=timedelta(seconds=2)), holder="the test")
    await bus.register([SubscriptionSpec("make/object", SOURCE, SUBJECT)])
    events = [event(number, f"o{number % 97}") for number in range(1, OBJECTS + 1)]
    share = OBJECTS // (KILLS + 1) + 1
    with Processes(tmp_path) as processes:

        def start(name: str) -> Process:
            argv = [KUBECDC, "work", "-f", str(tmp_path / "all.yaml"), "--kubeconfig", str(kubeconfig)]
            return processes.start(name, [*argv, "--log-format", "json"])

        workers = [start("worker-1"), start("worker-2")]
        for kill in range(KILLS + 1):
            await bus.publisher.publish(Publication(events[kill * share : (kill + 1) * share]))
            if kill == KILLS:
                break
            victim = chance.randrange(2)
            await workers[victim].wait_for('"event":"bus"', timeout=60)
            left = chance.randrange(share)
            async with asyncio.timeout(60):
                while await pending(bus, "make/object") > left:  # noqa: ASYNC110 - the workers are other processes
                    await asyncio.sleep(0.002)  # it is killed in the middle of the others
            await workers[victim].kill()
            workers[victim] = start(f"worker-{victim + 1}")
        async with asyncio.timeout(90):
            while await pending(bus, "make/object"):  # noqa: ASYNC110 - the workers are other processes
                await asyncio.sleep(0.1)
    await bus.close()
    api = client_of(kubeconfig)
    found = (await api.list(*CONFIGMAPS, "default", labelSelector="made=yes"))["items"]
    await api.close()
    made = Counter(item["data"]["event"] for item in found)
    print(f"seed {SEED}: {KILLS} kills, {len(found)} objects of {len(events)} events")
    assert made == Counter(event.id for event in events)
    marks = {item["data"]["event"]: item["metadata"]["annotations"]["kubecdc.io/event-id"] for item in found}
    assert all(mark == id_ for id_, mark in marks.items())
