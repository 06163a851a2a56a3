"""The conformance suite, run against the trigger types that kubecdc ships."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from aiohttp import web

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.shared import SharedCluster
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.testing import CASES, Case, ParameterCase
from kubecdc.workers.testing.case import event_of
from kubecdc.workers.triggers.argo_workflow.type import ArgoWorkflowType
from kubecdc.workers.triggers.contract import Context, TriggerType
from kubecdc.workers.triggers.function.type import FunctionType
from kubecdc.workers.triggers.http.type import HttpType
from kubecdc.workers.triggers.k8s.type import K8sType
from kubecdc.workers.triggers.log import lines
from kubecdc.workers.triggers.log.type import LogType
from tests.apiserver import LocalSimulator, simulator
from tests.workers import handlers
from tests.workers.kafka.harness import KafkaHarness
from tests.workers.kafka.mock import MockCluster, mock_cluster
from tests.workers.peer import Peer, serving
from tests.workers.pod import LOGIN, SECRET, TOKEN, Pod

URL_PASSWORD = "url-passw0rd"


class HttpHarness:
    """A server that answers as it is told, and repeats the secrets of the request if that fails."""

    type = HttpType()
    secrets: Sequence[str] = (SECRET, "me-myself", "pass-word", URL_PASSWORD)
    deadline = 2.0
    parameter = ParameterCase(
        "headers.X-Name", "body.metadata.name", read=lambda request: request.config.headers.get("X-Name"), expected="w1"
    )

    def __init__(self, pod: Pod) -> None:
        pod.mount("api", token=SECRET)
        pod.mount("login", user="me-myself", password="pass-word")
        self.context = Context("sensor", concurrency=4, keys=pod.keys)
        self.config: Mapping[str, Any] = {}
        self.peer = Peer()
        self._status = 200
        self._answering = asyncio.Event()
        self._answering.set()

    def reached_at(self, peer: Peer) -> None:
        url = peer.url.replace("//", f"//u:{URL_PASSWORD}@")
        self.peer, self.config = peer, {"url": url, "timeout": 2, **TOKEN, **LOGIN}

    def event(self, number: int) -> Event:
        return event_of(number)

    async def answer(self, request: web.Request) -> web.Response:
        await self._answering.wait()
        told = f"{request.headers['Authorization']}\n{request.headers['X-Token']} me-myself pass-word {URL_PASSWORD}"
        return web.Response(status=self._status, text=told * 100)

    async def arrived(self) -> list[str]:
        return [unquote(got.headers["ce-id"]) for got in self.peer.received]

    async def work(self) -> None:
        self._status = 200
        self._answering.set()

    async def fail_for_now(self) -> None:
        await self.work()
        self._status = 503

    async def fail_for_good(self) -> None:
        await self.work()
        self._status = 400

    async def hang(self) -> None:
        self._answering.clear()


class LogHarness:
    """A reader of standard output."""

    type = LogType()
    config: Mapping[str, Any] = {"intervalSeconds": 0}
    secrets: Sequence[str] = ()
    deadline = 0.3
    parameter = ParameterCase(
        "intervalSeconds", "body.n", read=lambda request: request.config.interval_seconds, expected=1, use_raw_data=True
    )

    def __init__(self) -> None:
        self.context = Context("sensor", concurrency=4)
        self._written: list[bytes] = []
        self._reading = threading.Event()
        self._reading.set()
        self._gone = self._broken = False

    def write(self, text: bytes) -> int:
        self._reading.wait()
        if self._gone:
            raise BrokenPipeError
        self._written.append(text)
        return len(text)

    def event(self, number: int) -> Event:
        made = event_of(number)
        return Event.decode(made.encode().replace(b"w1", b"w\xff")) if self._broken else made

    async def arrived(self) -> list[str]:
        decoded = [msgspec.json.decode(line) for line in b"".join(self._written).splitlines()]
        return [line["eventContext"]["id"] for line in decoded]

    async def work(self) -> None:
        self._gone = self._broken = False
        self._reading.set()

    async def fail_for_now(self) -> None:
        await self.work()
        self._gone = True

    async def fail_for_good(self) -> None:
        await self.work()
        self._broken = True

    async def hang(self) -> None:
        await self.work()
        self._reading.clear()


class K8sHarness:
    """An API server."""

    type: TriggerType[Any] = K8sType()
    secrets: Sequence[str] = ()
    deadline = 1.0
    parameter = ParameterCase(
        "source.resource.metadata.labels.name",
        "body.metadata.name",
        read=lambda request: request.document["metadata"].get("labels", {}).get("name"),
        expected="w1",
        own_dest="metadata.labels.name",
    )
    config: Mapping[str, Any] = {
        "source": {"resource": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}},
        "timeout": 1,
    }

    objects = ("", "v1", "configmaps")

    def __init__(self, api: LocalSimulator, cluster: SharedCluster) -> None:
        self._api = api
        self.context = Context("sensor", concurrency=4, cluster=cluster)

    def event(self, number: int) -> Event:
        return event_of(number)

    async def arrived(self) -> list[str]:
        page = await self._api.list(*self.objects, "default")
        return [item["metadata"]["annotations"]["kubecdc.io/event-id"] for item in page["items"]]

    async def work(self) -> None:
        self._api.resume()
        self._api.faults.clear()

    async def fail_for_now(self) -> None:
        await self.work()
        self._api.faults.fail(503)

    async def fail_for_good(self) -> None:
        await self.work()
        self._api.faults.fail(422, method="POST", message="ConfigMap is invalid")

    async def hang(self) -> None:
        self._api.suspend()


class ArgoWorkflowHarness(K8sHarness):
    """The same server, which has the Workflows."""

    type = ArgoWorkflowType()
    objects = ("argoproj.io", "v1alpha1", "workflows")
    config: Mapping[str, Any] = {
        "source": {
            "resource": {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Workflow",
                "metadata": {"generateName": "made-"},
                "spec": {"entrypoint": "main"},
            }
        },
        "timeout": 1,
    }


@pytest.fixture
async def k8s(tmp_path: Path) -> AsyncIterator[K8sHarness]:
    async with simulator(namespaces=["default"]) as api:
        kubeconfig = str(api.kubeconfig(tmp_path / "kubeconfig"))
        async with aclosing(SharedCluster(lambda: Cluster(kubeconfig))) as cluster:
            yield K8sHarness(api, cluster)


@pytest.fixture
async def argo_workflow(tmp_path: Path) -> AsyncIterator[ArgoWorkflowHarness]:
    async with simulator(namespaces=["default"]) as api:
        kubeconfig = str(api.kubeconfig(tmp_path / "kubeconfig"))
        async with aclosing(SharedCluster(lambda: Cluster(kubeconfig))) as cluster:
            yield ArgoWorkflowHarness(api, cluster)


class FunctionHarness:
    """A handler, which works on a peer in this process."""

    type = FunctionType()
    secrets: Sequence[str] = ()
    deadline = 0.3
    parameter = ParameterCase(
        "args.name", "body.metadata.name", read=lambda request: request.config.args.get("name"), expected="w1"
    )

    def __init__(self, handler: str, peer: handlers.Peer) -> None:
        self.context = Context("sensor", concurrency=4)
        self.config: Mapping[str, Any] = {"handler": f"tests.workers.handlers:{handler}", "timeout": "300ms"}
        self._peer = peer

    def event(self, number: int) -> Event:
        return event_of(number)

    async def arrived(self) -> list[str]:
        return self._peer.arrived

    async def work(self) -> None:
        self._peer.mode = ""
        self._peer.working.set()

    async def fail_for_now(self) -> None:
        await self.work()
        self._peer.mode = "away"

    async def fail_for_good(self) -> None:
        await self.work()
        self._peer.mode = "refused"

    async def hang(self) -> None:
        await self.work()
        self._peer.working.clear()


@pytest.fixture(params=["send", "send_async"])
def function(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FunctionHarness]:
    peer = handlers.Peer()
    peer.working.set()
    monkeypatch.setattr(handlers, "PEER", peer)
    yield FunctionHarness(request.param, peer)
    peer.working.set()


@pytest.fixture(scope="module")
def kafka_cluster() -> Iterator[MockCluster]:
    with mock_cluster() as made:
        yield made


@pytest.fixture
def kafka(kafka_cluster: MockCluster, request: pytest.FixtureRequest, pod: Pod) -> Iterator[KafkaHarness]:
    topic = request.node.name.partition("[")[2].strip("]")
    kafka_cluster.create(topic)
    yield KafkaHarness(kafka_cluster, topic, pod)
    kafka_cluster.work()


@pytest.fixture
async def http(pod: Pod) -> AsyncIterator[HttpHarness]:
    harness = HttpHarness(pod)
    async with serving(harness.answer) as peer:
        harness.reached_at(peer)
        yield harness


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogHarness]:
    harness = LogHarness()
    monkeypatch.setattr(lines, "STDOUT", lines.Lines(harness.write))
    monkeypatch.setattr(lines, "DEADLINE", harness.deadline)
    yield harness
    harness._reading.set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_http(case: Case, http: HttpHarness) -> None:
    await case.run(http)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_log(case: Case, log: LogHarness) -> None:
    await case.run(log)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_k8s(case: Case, k8s: K8sHarness) -> None:
    await case.run(k8s)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_argo_workflow(case: Case, argo_workflow: ArgoWorkflowHarness) -> None:
    await case.run(argo_workflow)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_function(case: Case, function: FunctionHarness) -> None:
    await case.run(function)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_kafka(case: Case, kafka: KafkaHarness) -> None:
    await case.run(kafka)
