"""Triggers whose Secrets and ConfigMaps are not mounted, but in the cluster."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from kubecdc.cluster.contents import DOUBTED, KEPT
from kubecdc.cluster.shared import SharedCluster
from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.testing.case import event_of, running
from tests.apiserver import CONFIGMAPS, LocalSimulator, simulator
from tests.clock import Clock
from tests.cluster.test_keys import SECRETS, clock, connected, put
from tests.workers.k8s.rig import Bench, config_map
from tests.workers.kafka.mock import consume, mock_cluster
from tests.workers.kafka.test_kafka import Setting
from tests.workers.peer import saying, serving
from tests.workers.pod import SECRET, TOKEN, Pod, ref, secret_header
from tests.workers.support import event
from tests.workers.test_http_tls import certified

pytestmark = pytest.mark.usefixtures("cluster")
__all__ = ["clock"]  # a fixture


@pytest.fixture
async def api() -> AsyncIterator[LocalSimulator]:
    async with simulator(namespaces=["default"]) as api:
        yield api


@pytest.fixture
async def cluster(api: LocalSimulator, tmp_path: Path, pod: Pod, clock: Clock) -> AsyncIterator[SharedCluster]:
    """The cluster of the pod."""
    async with connected(api.kubeconfig(tmp_path / "kubeconfig"), clock) as pod.cluster:
        yield pod.cluster


async def test_a_rotated_secret_is_sent_within_a_minute(api: LocalSimulator, pod: Pod, clock: Clock) -> None:
    await put(api, "one\n")
    async with serving(saying(200)) as peer, pod.route(peer.url, TOKEN) as route:
        assert await route.trigger.execute(route.request(event())) == Success()
        await put(api, "two\n")
        clock.now += KEPT
        assert await route.trigger.execute(route.request(event())) == Success()
    assert [r.headers["x-token"] for r in peer.received] == ["one", "two"]


async def test_a_receiver_that_demands_a_rotated_secret_makes_no_dead_letter(
    api: LocalSimulator, pod: Pod, clock: Clock
) -> None:
    await put(api, SECRET)
    taken = [SECRET]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers["X-Token"] == taken[-1] else 401)

    async with serving(answer) as peer, pod.route(peer.url, TOKEN) as route:
        assert await route.trigger.execute(route.request(event())) == Success()
        taken.append("new")
        clock.now += DOUBTED
        outcome = await route.trigger.execute(route.request(event()))
        assert outcome == Failure(f"POST {peer.url}: 401 Unauthorized"), "nothing else is known that could be sent"
        await put(api, "new")
        clock.now += DOUBTED
        outcome = await route.trigger.execute(route.request(event()))
        said = "the Secrets that were sent have changed meanwhile"
        assert outcome == Retry(f"POST {peer.url}: 401 Unauthorized; {said}", ours=True)
        assert await route.trigger.execute(route.request(event())) == Success()


async def test_while_it_is_not_known_the_event_is_not_at_fault(api: LocalSimulator, pod: Pod) -> None:
    api.fail(503, count=1)
    outcome = await pod.send("http://127.0.0.1:1", TOKEN)
    assert isinstance(outcome, Retry)
    assert outcome.ours
    assert "key `token` of Secret `api` is not mounted" in outcome.reason


async def test_certificates_come_from_the_cluster_too(api: LocalSimulator, pod: Pod, tmp_path: Path) -> None:
    pki = certified(tmp_path / "pki")
    names = {"ca.crt": "ca.crt", "tls.crt": "client.crt", "tls.key": "client.key"}
    data = {key: base64.b64encode(pki.read(file)).decode() for key, file in names.items()}
    metadata = {"name": "pki"}
    await api.create(*SECRETS, "default", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    tls = {"caCertSecret": "ca.crt", "clientCertSecret": "tls.crt", "clientKeySecret": "tls.key"}
    async with pki.serving(saying(200), clients=pki.folder / "ca.crt") as peer:
        assert await pod.send(peer.url, {"tls": {name: ref("pki", key) for name, key in tls.items()}}) == Success()


async def test_headers_of_kafka_come_from_the_cluster_too(api: LocalSimulator, pod: Pod) -> None:
    await put(api, SECRET)
    with mock_cluster() as kafka:
        kafka.create("changes")
        header = secret_header("x-token", "api", "token")
        async with running(Setting(kafka.url, pod.keys, secureHeaders=[header])) as made:  # type: ignore[arg-type]
            assert await made.execute(event_of(1)) == Success()
        (message,) = await asyncio.to_thread(consume, kafka.url, "changes")
    assert message.headers["x-token"] == SECRET


async def test_a_source_in_a_config_map_needs_no_mount(
    api: LocalSimulator, cluster: SharedCluster, pod: Pod, tmp_path: Path
) -> None:
    text = yaml.safe_dump(config_map("made"))
    await api.create(*CONFIGMAPS, "default", config_map("objects") | {"data": {"one": text}})
    bench = Bench(tmp_path, cluster)
    await bench.done({"source": {"configmap": {"name": "objects", "key": "one"}}}, mounts=pod.mounts)
    assert (await api.get(*CONFIGMAPS, "default", "made"))["data"] == {"a": "1"}
