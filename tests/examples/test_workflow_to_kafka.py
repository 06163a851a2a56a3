"""The example of Workflows on a topic, with its consumer: as users run it, on the mock cluster of librdkafka."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import Desk
from tests.workers.kafka.mock import MockCluster, consume, mock_cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "workflow-to-kafka"
TOPIC = "workflow-changes"
LABELS = {"track-me": "true", "team": "ml"}


class Follower:
    """The consumer, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout
        async with asyncio.timeout(60):
            return (await self._process.stdout.readline()).decode().rstrip()


@asynccontextmanager
async def following(cluster: MockCluster) -> AsyncIterator[Follower]:
    command = [sys.executable, str(EXAMPLE / "follow.py"), cluster.url, TOPIC]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield Follower(process)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster() as made:
        made.create(TOPIC)
        yield made


async def test_the_consumer_sees_each_change_of_a_labelled_workflow(desk: Desk, cluster: MockCluster) -> None:
    shutil.copy(EXAMPLE / "eventsource.yaml", desk.manifests / "source.yaml")
    desk.write("sensor.yaml", (EXAMPLE / "sensor.yaml").read_text().replace("127.0.0.1:9092", cluster.url))
    made = workflow("build")
    made["metadata"]["labels"] = LABELS
    async with following(cluster) as follower, desk.running("run"):
        await desk.create("of-nobody")
        await desk.api.create(*WORKFLOWS, "default", made)
        assert await follower.line() == "ADD default/build"
        await desk.api.patch(*WORKFLOWS, "default", "build", {"status": {"message": "waits for a node"}})
        assert await follower.line() == "UPDATE default/build waits for a node"
        await desk.api.delete(*WORKFLOWS, "default", "build")
        assert await follower.line() == "DELETE default/build waits for a node"
    messages = await asyncio.to_thread(consume, cluster.url, TOPIC)
    assert {message.key for message in messages} == {b"workflows.argoproj.io/default/build"}
    assert [json.loads(message.value)["labels"] for message in messages] == [LABELS] * 3


async def test_the_consumer_leaves_out_what_is_repeated(cluster: MockCluster) -> None:
    producer = Producer({"bootstrap.servers": cluster.url, "log_level": 0})
    for number in (1, 2, 1, 2, 3):
        summary = {"change": "UPDATE", "namespace": "n", "name": "w", "message": str(number)}
        producer.produce(TOPIC, json.dumps(summary), "w", headers=[("ce_sequence", f"{number:020}")])
    assert await asyncio.to_thread(producer.flush, 60) == 0
    async with following(cluster) as follower:
        assert [await follower.line() for _ in range(3)] == [f"UPDATE n/w {number}" for number in (1, 2, 3)]
