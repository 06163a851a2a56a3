from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from kubecdc.cluster.connection import Cluster
from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import Bus, Capabilities
from kubecdc.storage.contracts.types import ClusterAccess, Opening, Store
from kubecdc.storage.installed import store_types
from kubecdc.storage.sqs import SqsSettings, client, open_queue
from kubecdc.storage.sqs.opened import SqsQueue, capabilities
from tests.storage.sqs import elasticmq
from tests.storage.sqs.calls import Calls, recorded
from tests.storage.sqs.elasticmq import ElasticMq
from tests.storage.stores import opening

ELASTICMQ_BYTES = 256 << 10  # its limit for a message


@dataclass
class SqsHarness:
    """A bus for each test: its queues on a server that all tests share, all else in a file, or in ConfigMaps."""

    settings: SqsSettings
    path: Path
    stack: AsyncExitStack
    kubeconfig: Path | None = None  # of the cluster that has the ConfigMaps
    short: timedelta = timedelta(seconds=1)  # SQS counts in whole seconds

    @property
    def capabilities(self) -> Capabilities:
        own = capabilities(fifo=self.settings.fifo)
        in_file = self.kubeconfig is None
        return ComposedBus.composed(own, state=True, frequent=in_file, elector=in_file)

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        queue = await self.queue(holder, replace(self.settings, ack_wait=ack_wait, max_pending=max_pending))
        store = await self._store(holder)
        bus = ComposedBus(queue, store)
        self.stack.push_async_callback(bus.close)
        return bus

    async def queue(self, holder: str = "one", settings: SqsSettings | None = None) -> SqsQueue:
        queue = await open_queue(settings or self.settings, holder=holder)
        self.stack.push_async_callback(queue.close)
        return queue

    async def _store(self, holder: str) -> Store:
        types = store_types().types
        if self.kubeconfig is None:
            written = types["sqlite"].model.model_validate({"path": str(self.path)})
            return await types["sqlite"].open(written, "default", opening(holder))
        how = Opening(holder, ClusterAccess(lambda: Cluster(str(self.kubeconfig)), "default"))
        return await types["configMap"].open(types["configMap"].model.model_validate({}), "default", how)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Some that no server checks, and none of the machine's own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture(scope="session")
def elastic_mq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticMq]:
    elasticmq.JARS.require()
    server = ElasticMq(tmp_path_factory.mktemp("elasticmq"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@asynccontextmanager
async def harness_on(url: str, path: Path, name: str, *, fifo: bool, limit: int) -> AsyncIterator[SqsHarness]:
    """Its bus is named after the test. The list of queues and the counts are never old."""
    settings = SqsSettings(
        bus=f"{name[-40:]}-{zlib.crc32(name.encode()):08x}",
        region="eu-west-1",
        endpoint_url=url,
        fifo=fifo,
        message_bytes=limit,
        learn=0.0,
        recount=0.0,
        recount_full=0.0,
        browse_wait=0,
        poll=1,
    )
    async with AsyncExitStack() as stack:
        yield SqsHarness(settings, path / "store.db", stack)


@pytest.fixture
async def fifo(elastic_mq: ElasticMq, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SqsHarness]:
    name = request.node.name
    async with harness_on(elastic_mq.url, tmp_path, name, fifo=True, limit=ELASTICMQ_BYTES) as harness:
        yield harness


@pytest.fixture
async def standard(elastic_mq: ElasticMq, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SqsHarness]:
    name = request.node.name
    async with harness_on(elastic_mq.url, tmp_path, name, fifo=False, limit=ELASTICMQ_BYTES) as harness:
        yield harness


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto answers in the process of the tests, and slowly: that is no outage."""
    monkeypatch.setattr(client, "_LEAVE", 30.0)
    monkeypatch.setattr(client, "_READ", 30.0)
    monkeypatch.setattr(client, "SECONDS", 60.0)


@pytest.fixture
async def moto_fifo(
    moto: str, patient: None, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[SqsHarness]:
    async with harness_on(moto, tmp_path, request.node.name, fifo=True, limit=1 << 20) as harness:
        yield harness


@pytest.fixture
async def moto_standard(
    moto: str, patient: None, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[SqsHarness]:
    async with harness_on(moto, tmp_path, request.node.name, fifo=False, limit=1 << 20) as harness:
        yield harness


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    with recorded(monkeypatch) as calls:
        yield calls
