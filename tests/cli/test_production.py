"""docs/production.md: its manifests are accepted as they are, and what its containers run does what the page says."""

from __future__ import annotations

import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubecdc.storage.testing.actors import until
from tests.apiserver import LEASES, LocalSimulator, RealApiServer, require_assets
from tests.cli.rig import Desk, Running
from tests.cli.test_deploy import RBAC, apply

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "production.md").read_text()
DEPLOYMENTS = [yaml.safe_load((ROOT / "deploy" / name).read_text()) for name in ("watcher.yaml", "workers.yaml")]
(BUS,) = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
URL = re.search(r'url: "([^"]+)"', BUS)
TRACKER = ROOT / "examples" / "workflow-tracker"


def arguments(deployment: dict[str, Any]) -> list[str]:
    """What its container runs."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["kubecdc"]
    return list(container["args"])


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


@pytest.mark.long
async def test_a_real_server_takes_the_manifests_of_deploy_to_the_letter(tmp_path: Path) -> None:
    require_assets()
    real = RealApiServer(tmp_path / "server")
    await real.start()
    try:
        await apply(real, RBAC)
        for deployment in DEPLOYMENTS:
            path = "/apis/apps/v1/namespaces/kubecdc/deployments"
            await real.ask("POST", path, deployment, fieldValidation="Strict")
    finally:
        await real.stop()


async def test_what_the_containers_run_elects_scales_and_hands_over(
    api: LocalSimulator, tmp_path: Path, redis_url: str
) -> None:
    """As often as the Deployments say, as their service account, on a Redis."""
    await apply(api, RBAC)
    desk = Desk(tmp_path, api)
    account = ("system:serviceaccount:kubecdc:kubecdc", "system:serviceaccounts", "system:serviceaccounts:kubecdc")
    await api.kubeconfig_of(desk.kubeconfig, *account)
    desk.environment["KUBECDC_LEASE_NAMESPACE"] = "kubecdc"  # in a pod, it is the pod's
    (desk.folder / "bus").mkdir()
    assert URL
    (desk.folder / "bus" / "eventbus.yaml").write_text(BUS.replace(URL[1], redis_url))
    places = {
        "/etc/kubecdc/bus": str(desk.folder / "bus"),
        "/etc/kubecdc/manifests": str(desk.manifests),
        ":9464": "0",
        ":9465": "0",
    }
    async with AsyncExitStack() as stack:
        pods: dict[str, list[Running]] = {}
        for deployment in DEPLOYMENTS:
            command, *rest = (places.get(arg, arg) for arg in arguments(deployment))
            pods[command] = [
                await stack.enter_async_context(desk.running(command, *rest))
                for _ in range(deployment["spec"]["replicas"])
            ]

        async def led() -> bool:
            return any('"leading"' in pod.err for pod in pods["watch"] if pod.process.returncode is None)

        async def printed(name: str) -> bool:
            return any(f'"name":"{name}"' in pod.out for pod in pods["work"])

        await until(led)
        await desk.create("a")
        await until(lambda: printed("a"))
        (leader,) = [pod for pod in pods["watch"] if '"leading"' in pod.err]
        (other,) = [pod for pod in pods["watch"] if pod is not leader]
        await other.until("standing by")
        leader.process.send_signal(signal.SIGTERM)
        await other.until('"leading"')
        await desk.create("b")
        await until(lambda: printed("b"))
        spec = (await api.get(*LEASES, "kubecdc", "kubecdc"))["spec"]
        assert (spec["leaseTransitions"], spec["leaseDurationSeconds"]) == (1, 15)
        assert not any("forbidden" in pod.err for pod in pods["watch"] + pods["work"])
    assert sum(pod.out.count('"name":"a"') for pod in pods["work"]) == 1
