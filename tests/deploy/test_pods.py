"""deploy/kustomize on the full Kubernetes. The pods run as processes, with their rights, arguments, volumes, users."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kubecdc.cli.commands.rbac import rbac
from tests.apiserver import LEASES, RealApiServer
from tests.deploy.cluster import DEPLOYMENTS, WAIT, Cluster, printed
from tests.deploy.tools import BUSES, DEPLOY, OVERLAYS, ROOT, built, built_in, of_kind, output, tool
from tests.harness.kubelet import STEP, Container, Kubelet
from tests.storage.redis_server import RedisServer, require

pytestmark = pytest.mark.long
PASSWORD = "only in the Secret"
PAUSE = 0.2  # seconds between two changes


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    require()
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", "--requirepass", PASSWORD)
    server.start()
    yield server
    server.kill()


def complaints(pods: list[Container]) -> list[str]:
    """What the processes said about missing rights."""
    lines = [line for pod in pods for line in pod.err.splitlines()]
    return [line for line in lines if "forbidden" in line or "is not checked" in line]


async def test_the_server_takes_each_overlay_to_the_letter_and_admits_its_pods(
    server: RealApiServer, tmp_path: Path
) -> None:
    """Without a node: the pods are there, so Pod Security lets them in, and wait for one."""
    cluster = Cluster(server, Kubelet(server, tmp_path, "kubecdc"), tmp_path)
    try:
        for bus in BUSES:
            await cluster.apply(OVERLAYS / bus)
            wanted = {
                d["metadata"]["name"]: d["spec"]["replicas"] for d in of_kind(built(OVERLAYS / bus), "Deployment")
            }

            async def admitted(wanted: dict[str, int] = wanted) -> bool:
                pods = (await server.list("", "v1", "pods", "kubecdc"))["items"]
                return Counter(pod["metadata"]["name"].rsplit("-", 2)[0] for pod in pods) == wanted

            async with asyncio.timeout(WAIT):
                while not await admitted():  # noqa: ASYNC110 (the server has no event for it)
                    await asyncio.sleep(STEP)
            await cluster.clear("kubecdc")
    finally:
        await server.close()


async def test_the_default_prints_each_change_once_though_its_pod_is_replaced(cluster: Cluster) -> None:
    await cluster.apply(DEPLOY / "kustomize")
    await cluster.rolled_out("kubecdc-run")
    await cluster.create_deployment("first")
    await cluster.until(lambda: ("ADD", "first") in printed(cluster.node.of("kubecdc-run")), "kubecdc-run")
    await cluster.kubectl("rollout", "restart", "deployment/kubecdc-run", "-n", "kubecdc")
    await cluster.api.delete(*DEPLOYMENTS, "default", "first")
    await cluster.rolled_out("kubecdc-run")
    await cluster.until(
        lambda: ("DELETE", "first") in printed(cluster.node.of("kubecdc-run", past=True)), "kubecdc-run"
    )
    pods = cluster.node.of("kubecdc-run", past=True)
    counted = Counter(line for line in printed(pods) if line[1] == "first")
    assert (counted["ADD", "first"], counted["DELETE", "first"]) == (1, 1)
    assert complaints(pods) == []
    assert [code for _, code in cluster.node.ended] == [0]


def installation(folder: Path, redis: str) -> str:
    """The files of docs/production.md, with the manifests here and another Redis; and what `kubecdc rbac` prints."""
    source, sensor = (DEPLOY / "kustomize" / "base" / "manifests.yaml").read_text().split("---\n")
    bus, kustomization = re.findall(r"```yaml\n(.+?)```", (ROOT / "docs" / "production.md").read_text(), re.DOTALL)
    files = {
        "eventbus.yaml": bus.replace("redis://redis.kubecdc.svc:6379/0", redis),
        "eventsource.yaml": source,
        "sensor.yaml": sensor,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    built_in(folder, yaml.safe_load(kustomization))
    given = [argument for name in files for argument in ("-f", str(folder / name))]
    return CliRunner().invoke(rbac, [*given, "--namespace", "kubecdc"], catch_exceptions=False).stdout


async def test_watchers_and_workers_are_restarted_and_scaled_and_nothing_is_lost(
    cluster: Cluster, redis: RedisServer, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    rights = installation(folder, redis.url)
    await cluster.kubectl("create", "namespace", "kubecdc")
    await cluster.kubectl(
        "create", "secret", "generic", "kubecdc-redis", "-n", "kubecdc", f"--from-literal=password={PASSWORD}"
    )
    await cluster.kubectl("apply", "--validate=strict", "-f", "-", stdin=rights)
    await cluster.apply(folder)
    for name in ("kubecdc-watch", "kubecdc-work"):
        await cluster.rolled_out(name)
    made: list[str] = []

    async def load() -> None:
        while True:
            await cluster.create_deployment(f"made-{len(made)}")
            made.append(f"made-{len(made)}")
            await asyncio.sleep(PAUSE)

    async def workers(replicas: int) -> None:
        await cluster.kubectl("scale", "deployment/kubecdc-work", "-n", "kubecdc", f"--replicas={replicas}")
        await cluster.rolled_out("kubecdc-work")

    loading = asyncio.create_task(load())
    for step in ("watch", 4, 0, "work", 2):
        before = len(made)
        if isinstance(step, int):
            await workers(step)
        else:
            await cluster.kubectl("rollout", "restart", f"deployment/kubecdc-{step}", "-n", "kubecdc")
            await cluster.rolled_out(f"kubecdc-{step}")
        await cluster.until(lambda before=before: len(made) > before)  # type: ignore[misc]
    loading.cancel()
    await asyncio.wait([loading])
    all_of_them = {("ADD", name) for name in made}
    owners = ("kubecdc-watch", "kubecdc-work")
    await cluster.until(lambda: all_of_them <= set(printed(cluster.node.of("kubecdc-work", past=True))), *owners)
    pods = [pod for owner in owners for pod in cluster.node.of(owner, past=True)]
    counted = Counter(printed(pods))
    assert {line: counted[line] for line in all_of_them if counted[line] != 1} == {}
    assert complaints(pods) == []
    assert {code for _, code in cluster.node.ended} == {0}
    assert (await cluster.api.get(*LEASES, "kubecdc", "kubecdc"))["spec"]["leaseDurationSeconds"] == 15


async def test_a_release_of_helm_starts_is_changed_and_removed(cluster: Cluster) -> None:
    helm = ("--kubeconfig", cluster.kubeconfig, "-n", "kubecdc", "--timeout", f"{WAIT}s")

    async def run(*args: str | Path) -> None:
        await asyncio.to_thread(output, "helm", *args, *helm)

    chart = DEPLOY / "helm" / "kubecdc"
    tool("helm")
    await run("install", "kubecdc", chart, "--create-namespace")
    await cluster.rolled_out("kubecdc-run")
    (first,) = cluster.node.of("kubecdc-run")
    text = (DEPLOY / "kustomize" / "base" / "manifests.yaml").read_text()
    (sensor,) = [part for part in text.split("---\n") if "kind: Sensor" in part]
    changed = cluster.folder / "changed.yaml"
    changed.write_text(f"{text}---\n{sensor.replace('name: print', 'name: again')}")
    await run("upgrade", "kubecdc", chart, "--set-file", f"manifests.changed\\.yaml={changed}")
    await cluster.until(lambda: '"manifests-reloaded"' in first.err, "kubecdc-run")
    await cluster.create_deployment("first")
    await cluster.until(lambda: printed([first]).count(("ADD", "first")) == 2, "kubecdc-run")
    assert cluster.node.of("kubecdc-run") == [first], "no restart"
    bus = "bus.spec.retention=1h,bus.spec.sqlite.path=/var/lib/kubecdc/kubecdc.db"
    await run("upgrade", "kubecdc", chart, "--set-file", f"manifests.changed\\.yaml={changed}", "--set", bus)
    await cluster.rolled_out("kubecdc-run")
    (second,) = cluster.node.of("kubecdc-run")
    assert first.pod != second.pod
    assert complaints([first, second]) == []
    await run("uninstall", "kubecdc")
