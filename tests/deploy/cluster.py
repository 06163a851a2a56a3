"""The full Kubernetes, to which deploy/ is applied, and whose pods are processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.apiserver import RealApiServer
from tests.apiserver.client import path_of
from tests.deploy.tools import output
from tests.harness.kubelet import Container, Kubelet

DEPLOYMENTS = ("apps", "v1", "deployments")
WAIT = 60  # seconds, however busy the machine is


class Cluster:
    """An administrator's desk beside it: kubectl, and what the pods wrote."""

    def __init__(self, api: RealApiServer, node: Kubelet, folder: Path) -> None:
        self.api = api
        self.node = node
        self.folder = folder
        self.kubeconfig = api.kubeconfig(folder / "kubeconfig")

    async def kubectl(self, *args: str | Path, stdin: str = "") -> str:
        flags: list[str | Path] = ["--kubeconfig", self.kubeconfig, "--cache-dir", self.folder / "cache"]
        return await asyncio.to_thread(output, "kubectl", *flags, *args, stdin=stdin)

    async def apply(self, folder: Path) -> None:
        """Apply a kustomization; a field that the server does not know is an error."""
        await self.kubectl("apply", "--validate=strict", "-k", folder)

    async def create_deployment(self, name: str, namespace: str = "default") -> None:
        """One without pods, with which the controllers have little to do."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"paused": True, "replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        body = {"metadata": {"name": name}, "spec": spec}
        await self.api.create(*DEPLOYMENTS, namespace, body)

    async def rolled_out(self, name: str) -> None:
        """Wait until the Deployment has what it wants, and the pods of before are gone."""
        status = ("rollout", "status", f"deployment/{name}", "-n", self.node.namespace, f"--timeout={WAIT}s")
        waiting = asyncio.create_task(self.kubectl(*status))
        await self.until(waiting.done, name)
        await waiting
        spec = (await self.api.get(*DEPLOYMENTS, self.node.namespace, name))["spec"]
        await self.until(lambda: len(self.node.of(name)) == spec["replicas"], name)

    async def until(self, condition: Callable[[], object], *owners: str) -> None:
        """Wait for something that the pods of the Deployments bring about. AssertionError with their logs otherwise."""
        try:
            async with asyncio.timeout(WAIT):
                while not condition() and not self.node.broken:  # noqa: ASYNC110 (processes have no event for it)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            logs = [f"{pod.pod}\n{pod.err}" for owner in owners for pod in self.node.of(owner, past=True)]
            raise AssertionError("\n".join(["it did not come", *logs])) from None
        assert not self.node.broken, "\n".join(self.node.failed.values()) or "the kubelet has ended"

    async def clear(self, namespace: str) -> None:
        """Delete the namespace and what it left elsewhere, and wait until all of it is gone."""
        await self.kubectl("delete", "deployments", "--all", "-n", namespace)
        if self.node.broken:
            await self.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
        await self.kubectl("delete", "namespace", namespace, "--ignore-not-found", f"--timeout={WAIT}s")
        form = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.namespace}{'\\n'}{end}"
        found = await self.kubectl("get", "clusterroles,clusterrolebindings,roles,rolebindings", "-A", "-o", form)
        for kind, name, *namespaces in map(str.split, found.splitlines()):
            if name.startswith("kubecdc-"):  # by their names: those that `kubecdc rbac` prints have no labels
                await self.kubectl("delete", kind, name, *(f"--namespace={n}" for n in namespaces))
        await self.api.ask("DELETE", path_of(*DEPLOYMENTS, "default"))


def printed(pods: list[Container]) -> list[tuple[str, str]]:
    """Type and name of each Deployment that `log` triggers of the pods have printed."""
    lines = [json.loads(line) for pod in pods for line in pod.out.splitlines()]
    return [(line["data"]["type"], name_of(line)) for line in lines]


def name_of(line: dict[str, Any]) -> str:
    return str(line["data"]["body"]["metadata"]["name"])
