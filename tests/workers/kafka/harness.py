"""What the conformance suite needs of the ``kafka`` trigger: the mock cluster as its peer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.testing import ParameterCase
from kubecdc.workers.testing.case import event_of
from kubecdc.workers.triggers.contract import Context
from kubecdc.workers.triggers.kafka.type import KafkaType
from tests.workers.kafka.mock import MockCluster, consume
from tests.workers.pod import SECRET, Pod, secret_header


class KafkaHarness:
    """A topic of the mock cluster."""

    type = KafkaType()
    secrets: Sequence[str] = (SECRET,)
    deadline = 3.5
    parameter = ParameterCase(
        "headers.name", "body.metadata.name", read=lambda request: request.config.headers.get("name"), expected="w1"
    )

    def __init__(self, cluster: MockCluster, topic: str, pod: Pod) -> None:
        pod.mount("api", token=SECRET)
        self.context = Context("sensor", concurrency=4, keys=pod.keys)
        header = secret_header("token", "api", "token")
        self.config: Mapping[str, Any] = {"url": cluster.url, "topic": topic, "timeout": 3, "secureHeaders": [header]}
        self._cluster = cluster
        self._topic = topic

    def event(self, number: int) -> Event:
        return event_of(number)

    async def arrived(self) -> list[str]:
        found = await asyncio.to_thread(consume, self._cluster.url, self._topic)
        return [message.headers["ce_id"] for message in found]

    async def work(self) -> None:
        self._cluster.work()

    async def fail_for_now(self) -> None:
        await self.work()
        self._cluster.refuse(KafkaError.UNKNOWN)

    async def fail_for_good(self) -> None:
        await self.work()
        self._cluster.refuse(KafkaError.INVALID_RECORD)

    async def hang(self) -> None:
        await self.work()
        self._cluster.hang()
