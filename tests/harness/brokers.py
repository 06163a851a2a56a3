"""Buses on a broker, with the checkpoint in a ConfigMap: SQS, played by ElasticMQ, and Pub/Sub, played by a fake."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubecdc.cluster.connection import Cluster
from kubecdc.storage.configmap.manifest import ConfigMapCheckpoint
from kubecdc.storage.configmap.store_type import ConfigMapStore
from kubecdc.storage.contracts.types import ClusterAccess, Opening
from tests.harness.back_end import Election, Observed
from tests.harness.kinds import LEASED, PROXIED, Kind
from tests.harness.proxy import Proxy

if TYPE_CHECKING:
    from tests.storage.pubsub.fake import FakePubSub
    from tests.storage.sqs.elasticmq import ElasticMq

BUS = "default"
ELECTION = Election(9)  # the lead must outlast any call of a broker, of 6 s
REGION, PROJECT, TOPIC = "eu-west-1", "a-project", "kubecdc"


class SqsQueues:
    """FIFO queues of ElasticMQ. It has its messages in memory only, so it is never killed."""

    name = "sqs"
    election: Election | None = ELECTION
    atomic = False
    ack_wait = 5.0  # and 3 seconds more from a reception on, for the long poll; less is too little for a busy machine
    faults: Collection[Kind] = LEASED | PROXIED

    def __init__(self, server: ElasticMq, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.proxy = Proxy(server.port)

    @property
    def manifest(self) -> Mapping[str, object]:
        url = f"http://127.0.0.1:{self.proxy.port}"
        return {"sqs": {"region": REGION, "endpointUrl": url, "maxMessageBytes": "256Ki"}}

    @property
    def environment(self) -> Mapping[str, str]:
        """Credentials that the server does not check, and none of the machine's own."""
        nowhere = str(self._folder / "none")
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SqsQueues]:
        """With the server and the proxy up."""
        await asyncio.to_thread(self._server.start)
        try:
            async with self.proxy:
                yield self
        finally:
            self._server.kill()

    def copies(self) -> Mapping[str, int]:
        return {}

    @asynccontextmanager
    async def observed(self, kubeconfig: Path) -> AsyncIterator[Observed]:
        import boto3

        sqs = boto3.client(
            "sqs",
            region_name=REGION,
            endpoint_url=self._server.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

        async def pending() -> int:
            return await asyncio.to_thread(_waiting, sqs)

        try:
            async with _observed(kubeconfig, pending) as found:
                yield found
        finally:
            sqs.close()


class PubSubTopic:
    """A topic of the fake, which lives in the event loop of the test."""

    name = "pubsub"
    election: Election | None = ELECTION
    atomic = False
    ack_wait = 10.0  # Pub/Sub takes no less
    faults: Collection[Kind] = LEASED | PROXIED

    def __init__(self, server: FakePubSub) -> None:
        self.server = server
        self.proxy = Proxy(0)

    @property
    def manifest(self) -> Mapping[str, object]:
        return {"pubsub": {"projectID": PROJECT, "topic": TOPIC}}

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self.proxy.port}"}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PubSubTopic]:
        """With the server and the proxy up."""
        async with self.server:
            self.proxy.server_port = int(self.server.address.rpartition(":")[2])
            async with self.proxy:
                yield self

    def copies(self) -> Mapping[str, int]:
        messages = [published.content for topic in self.server.history.values() for published in topic]
        return Counter(content.attributes["id"] for content in messages)

    @asynccontextmanager
    async def observed(self, kubeconfig: Path) -> AsyncIterator[Observed]:
        async def pending() -> int:
            lanes = [lane for one in self.server.subscriptions.values() for lane in one.lanes.values()]
            return sum(entry.state != "acked" for lane in lanes for entry in lane)

        async with _observed(kubeconfig, pending) as found:
            yield found


@asynccontextmanager
async def _observed(kubeconfig: Path, pending: Callable[[], Awaitable[int]]) -> AsyncIterator[Observed]:
    """With the checkpoints in the default ConfigMap."""
    access = ClusterAccess(lambda: Cluster(str(kubeconfig)))
    store = await ConfigMapStore().open(ConfigMapCheckpoint(), BUS, Opening("the test", access))
    try:
        yield Observed(store.checkpoints, pending)
    finally:
        await store.close()


def _waiting(sqs: Any) -> int:
    """Messages of all queues, those in flight too; dead letters left out. ElasticMQ counts them exactly."""
    kinds = ["", "NotVisible", "Delayed"]
    names = [f"ApproximateNumberOfMessages{kind}" for kind in kinds]
    found = 0
    for url in sqs.list_queues().get("QueueUrls", []):
        if "-dlq" not in url:
            counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            found += sum(int(counts[name]) for name in names)
    return found
