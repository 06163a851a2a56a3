"""docs/production.md: its manifests are accepted as they are, and what its containers run does what the page says."""

from __future__ import annotations

import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml

import kubecdc
from tests.apiserver import LEASES, LocalSimulator
from tests.cli.rig import REDIS_BUS, Desk, Running
from tests.cli.test_deploy import apply
from tests.deploy.tools import OVERLAYS, ROOT, built, built_in, of_kind
from tests.harness.processes import until

PAGE = (ROOT / "docs" / "production.md").read_text()
BUS, KUSTOMIZATION = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
TRACKER = ROOT / "examples" / "workflow-tracker"


def arguments(deployment: dict[str, Any]) -> list[str]:
    """What its container runs."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["kubecdc"]
    return list(container["args"])


def here(argument: str, places: dict[str, str]) -> str:
    option, _, value = argument.partition("=")
    return f"{option}={places.get(value, value)}" if value else argument


async def test_the_manifests_are_valid(desk: Desk) -> None:
    for file in desk.manifests.iterdir():
        file.unlink()
    for name in ("eventsource.yaml", "sensor-http.yaml", "sensor-log.yaml"):
        desk.write(name, (TRACKER / name).read_text())
    bus = desk.folder / "eventbus.yaml"
    bus.write_text(BUS)
    done = await desk.call("validate", "-f", str(bus))
    assert (done.code, done.err) == (0, "")
    assert "bus default" in done.out


def test_the_kustomization_brings_bus_manifests_and_image_and_leaves_the_rights_out(tmp_path: Path) -> None:
    (tmp_path / "eventbus.yaml").write_text(BUS)
    for ours, theirs in (("eventsource.yaml", "eventsource.yaml"), ("sensor-log.yaml", "sensor.yaml")):
        (tmp_path / theirs).write_text((TRACKER / ours).read_text())
    documents = built_in(tmp_path, yaml.safe_load(KUSTOMIZATION))
    data: dict[str, str] = {}
    for config_map in of_kind(documents, "ConfigMap"):
        data |= config_map["data"]
    assert sorted(data) == ["eventbus.yaml", "eventsource.yaml", "sensor.yaml"]
    assert data["eventbus.yaml"] == BUS
    assert not [document for document in documents if "rbac" in document["apiVersion"]]
    images = {d["spec"]["template"]["spec"]["containers"][0]["image"] for d in of_kind(documents, "Deployment")}
    assert images == {f"registry.example.com/kubecdc:{kubecdc.__version__}"}


async def test_what_the_containers_run_elects_scales_and_hands_over(
    api: LocalSimulator, tmp_path: Path, redis_url: str
) -> None:
    """As often as the Deployments say, as their service account, on a Redis."""
    desk = Desk(tmp_path, api)
    (desk.folder / "bus").mkdir()
    (desk.folder / "bus" / "eventbus.yaml").write_text(REDIS_BUS.format(url=redis_url))
    printed_rights = await desk.call("rbac", "-f", str(desk.folder / "bus"), "--namespace", "kubecdc")
    await apply(api, yaml.safe_load_all(printed_rights.out))
    account = "system:serviceaccount:kubecdc:kubecdc-watch"
    await api.kubeconfig_of(desk.kubeconfig, account, "system:serviceaccounts", "system:serviceaccounts:kubecdc")
    desk.environment["KUBECDC_LEASE_NAMESPACE"] = "kubecdc"  # in a pod, it is the pod's
    places = {"/etc/kubecdc/bus": str(desk.folder / "bus"), "/etc/kubecdc/manifests": str(desk.manifests)}
    places |= {":9464": "0", ":9465": "0"}
    async with AsyncExitStack() as stack:
        pods: dict[str, list[Running]] = {}
        for deployment in of_kind(built(OVERLAYS / "redis"), "Deployment"):
            command, *rest = (here(argument, places) for argument in arguments(deployment))
            pods[command] = [
                await stack.enter_async_context(desk.running(command, *rest))
                for _ in range(deployment["spec"]["replicas"])
            ]

        def led() -> bool:
            return any('"leading"' in pod.err for pod in pods["watch"] if pod.process.returncode is None)

        def printed(name: str) -> bool:
            return any(f'"name":"{name}"' in pod.out for pod in pods["work"])

        await until(led, 60, "a leader")
        await desk.create("a")
        await until(lambda: printed("a"), 60, "the first event")
        (leader,) = [pod for pod in pods["watch"] if '"leading"' in pod.err]
        (other,) = [pod for pod in pods["watch"] if pod is not leader]
        await other.until("standing by")
        leader.process.send_signal(signal.SIGTERM)
        await other.until('"leading"')
        await desk.create("b")
        await until(lambda: printed("b"), 60, "the second event")
        spec = (await api.get(*LEASES, "kubecdc", "kubecdc"))["spec"]
        assert (spec["leaseTransitions"], spec["leaseDurationSeconds"]) == (1, 15)
        assert not any("forbidden" in pod.err for pod in pods["watch"] + pods["work"])
    assert sum(pod.out.count('"name":"a"') for pod in pods["work"]) == 1
