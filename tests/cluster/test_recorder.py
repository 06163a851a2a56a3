"""Kubernetes Events about this process: what they are on, how many there are, and that nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubecdc.cluster import own_objects
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import ApiError
from kubecdc.cluster.recorder import BURST, PERIOD, Recorder, own_pod
from kubecdc.errors import UsageError
from tests.apiserver import LocalSimulator, RealApiServer, simulator
from tests.apiserver.client import ApiServer

EVENTS = ("", "v1", "events")
SOURCE = {"kind": "EventSource", "name": "workflows"}
KINDS = {"Deployment": "deployments", "ReplicaSet": "replicasets"}


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator() as server:
        yield server


@asynccontextmanager
async def recording(kubeconfig: Path, pod: str = "", **more: Any) -> AsyncIterator[Recorder]:
    async with Cluster(str(kubeconfig)) as cluster:

        async def connect() -> Cluster:
            return cluster

        made = Recorder(connect, "default", pod, **more)
        writing = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            writing.cancel()


async def idle(recorder: Recorder) -> None:
    async with asyncio.timeout(60):
        await recorder._queue.join()


async def written(api: ApiServer, count: int = 1, namespace: str = "default") -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while True:
            items: list[dict[str, Any]] = (await api.list(*EVENTS, namespace))["items"]
            found = [item for item in items if item.get("source", {}).get("component") == "kubecdc"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


def owner(kind: str, made: dict[str, Any]) -> list[dict[str, Any]]:
    meta = made["metadata"]
    return [{"apiVersion": "apps/v1", "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True}]


async def make_pod(api: ApiServer, namespace: str = "default") -> str:
    """A pod of a ReplicaSet of a Deployment, without controllers. Returns the uid of the Deployment."""
    container = {"name": "kubecdc", "image": "kubecdc"}
    template = {"metadata": {"labels": {"app": "kubecdc"}}, "spec": {"containers": [container]}}
    # As controllers would have left it, where there are some: they take away what is too many, or does not match.
    spec: dict[str, Any] = {"replicas": 1, "selector": {"matchLabels": {"app": "kubecdc"}}, "template": template}
    above: list[dict[str, Any]] = []
    uids = []
    for kind, name in (("Deployment", "kubecdc-watch"), ("ReplicaSet", "kubecdc-watch-5c9")):
        body = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "labels": {"app": "kubecdc"}, "ownerReferences": above},
            "spec": spec | {"paused": True} if kind == "Deployment" else spec,
        }
        made = await api.create("apps", "v1", KINDS[kind], namespace, body)
        above = owner(kind, made)
        uids.append(made["metadata"]["uid"])
    meta = {"name": "kubecdc-watch-5c9-x", "labels": {"app": "kubecdc"}, "ownerReferences": above}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    await api.create("", "v1", "pods", namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    return str(uids[0])


async def is_on_the_deployment(api: ApiServer, kubeconfig: Path) -> None:
    uid = await make_pod(api)
    async with recording(kubeconfig, "kubecdc-watch-5c9-x") as recorder:
        recorder.record("LeadLost", "bus default: the Lease is away", **SOURCE)
        (event,) = await written(api)
    on = event["involvedObject"]
    assert (on["apiVersion"], on["kind"], on["name"], on["uid"]) == ("apps/v1", "Deployment", "kubecdc-watch", uid)
    assert (event["reason"], event["type"], event["message"]) == (
        "LeadLost",
        "Warning",
        "bus default: the Lease is away",
    )
    assert event["metadata"]["annotations"][own_objects.ANNOTATION] == "true"


async def test_an_event_is_on_the_deployment_of_the_pod(api: LocalSimulator, tmp_path: Path) -> None:
    await is_on_the_deployment(api, api.kubeconfig(tmp_path / "kubeconfig"))


async def test_a_real_api_server_takes_it(real_api: RealApiServer, tmp_path: Path) -> None:
    try:
        await is_on_the_deployment(real_api, real_api.kubeconfig(tmp_path / "kubeconfig"))
    finally:
        await real_api.close()


async def test_outside_of_a_pod_it_is_on_the_manifest(api: LocalSimulator, tmp_path: Path) -> None:
    async with recording(api.kubeconfig(tmp_path / "kubeconfig")) as recorder:
        recorder.record("GapRepaired", "history expired", **SOURCE)
        (event,) = await written(api)
    assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("EventSource", "workflows")


async def test_a_pod_that_may_not_be_looked_up_does_not_keep_it_back(api: LocalSimulator, tmp_path: Path) -> None:
    api.fail(403, method="GET", path="pods")
    async with recording(api.kubeconfig(tmp_path / "kubeconfig"), "mine") as recorder:
        recorder.record("GapRepaired", "history expired", **SOURCE)
        (event,) = await written(api)
        assert event["involvedObject"]["kind"] == "EventSource"
        api.faults.clear()
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"}, "spec": {"containers": []}}
        await api.create("", "v1", "pods", "default", pod)
        recorder.record("GapRepaired", "history expired", **SOURCE)
        kinds = {event["involvedObject"]["kind"] for event in await written(api, 2)}
        assert kinds == {"EventSource", "Pod"}


async def test_of_one_reason_and_manifest_there_are_few(api: LocalSimulator, tmp_path: Path) -> None:
    now = 0.0
    async with recording(api.kubeconfig(tmp_path / "kubeconfig"), now=lambda: now) as recorder:
        for n in range(100):
            recorder.record("BreakerOpened", f"503 {n}", kind="Sensor", name="post")
        recorder.record("BreakerOpened", "another", kind="Sensor", name="other")
        await written(api, BURST + 1)
        now += PERIOD
        recorder.record("BreakerOpened", "503 again", kind="Sensor", name="post")
        recorder.record("BreakerOpened", "503 too", kind="Sensor", name="post")
        said = sorted(event["message"] for event in await written(api, BURST + 2))
    assert said == [*(f"503 {n}" for n in range(BURST)), "503 again (95 more since the last Event)", "another"]


async def test_an_outage_of_the_api_server_is_outlived_and_a_lost_answer_does_not_repeat_it(
    api: LocalSimulator, tmp_path: Path
) -> None:
    api.fail(503, count=2, method="POST", path="events")
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with recording(api.kubeconfig(tmp_path / "kubeconfig"), sleep=sleep) as recorder:
        post, lost = Cluster.post, 1

        async def answered_late(cluster: Cluster, *args: Any, **more: Any) -> bytes:
            nonlocal lost
            answer = await post(cluster, *args, **more)
            if lost:
                lost -= 1
                raise ApiError("no answer")
            return answer

        with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
            patch.setattr(Cluster, "post", answered_late)
            recorder.record("LeadLost", "first", **SOURCE)
            recorder.record("LeadLost", "second", **SOURCE)
            found = await written(api, 2)
    assert sorted(event["message"] for event in found) == ["first", "second"]
    assert len(slept) == 3
    assert logs == []


async def test_a_refusal_is_said_once(api: LocalSimulator, tmp_path: Path) -> None:
    api.fail(403, method="POST", path="events")
    async with recording(api.kubeconfig(tmp_path / "kubeconfig")) as recorder:
        with capture_logs() as logs:
            for reason in ("LeadLost", "GapRepaired"):
                recorder.record(reason, "x", **SOURCE)
            await idle(recorder)
    (line,) = logs
    assert (line["code"], line["log_level"]) == ("kubernetes-events-refused", "warning")
    assert "grant create on events in the namespace default" in line["hint"]


async def test_without_a_cluster_it_is_said_once_and_nothing_waits() -> None:
    async def connect() -> Cluster:
        raise UsageError("no cluster is configured")

    recorder = Recorder(connect, "default")
    writing = asyncio.create_task(recorder.run())
    with capture_logs() as logs:
        for _ in range(3):
            recorder.record("LeadLost", "x", **SOURCE)
        await idle(recorder)
    writing.cancel()
    assert [line["reason"] for line in logs] == ["no cluster is configured"]


async def test_an_api_server_that_hangs_holds_up_nobody(api: LocalSimulator, tmp_path: Path) -> None:
    api.faults.latency = 3600.0
    async with recording(api.kubeconfig(tmp_path / "kubeconfig")) as recorder:
        for n in range(1000):
            recorder.record("BreakerOpened", "503", kind="Sensor", name=f"s{n}")  # returns at once, and is bounded
        assert recorder._queue.full()


def test_the_pod_is_that_of_the_downward_api_or_of_the_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAME", raising=False)
    assert own_pod(in_cluster=False) == ""
    assert own_pod(in_cluster=True)
    monkeypatch.setenv("POD_NAME", "mine")
    assert own_pod(in_cluster=False) == "mine"
