"""What the operations come to with Argo's own workflow-controller, which acts on the Workflows as they leave them.

``KUBECDC_WORKFLOW_CONTROLLER`` names its program (``go build ./cmd/workflow-controller`` in argoproj/argo-workflows;
tried with v3.7.3). Without it, or without a real API server, the tests are skipped. Most Workflows
wait in suspended nodes, because nothing here runs pods.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apiserver import RealApiServer, require_assets
from tests.apiserver.client import CRDS
from tests.apiserver.resources import definition
from tests.workers.argo_workflow.rig import (
    Body,
    W,
    WorkflowBench,
    bench,
    create,
    get,
    install_templates,
    on,
    workflow,
    workflows,
)
from tests.workers.support import event

OWN = {
    "workflowtasksets": "WorkflowTaskSet",
    "workflowtaskresults": "WorkflowTaskResult",
    "workflowartifactgctasks": "WorkflowArtifactGCTask",
    "workfloweventbindings": "WorkflowEventBinding",
}
PODS = ("", "v1", "pods")
CONFIG = "workflow-controller-configmap"
SPEC: Body = {
    "entrypoint": "main",
    "templates": [
        {"name": "main", "steps": [[{"name": "first", "template": "wait"}], [{"name": "second", "template": "wait"}]]},
        {"name": "wait", "suspend": {}},
    ],
}

pytestmark = pytest.mark.long


@dataclass
class Argo:
    """The triggers, and the Workflows as the controller leaves them."""

    server: RealApiServer
    it: WorkflowBench
    events: int = 0

    async def act(self, operation: str, name: str, *args: str) -> None:
        """For an event of its own, and for the same event once more, as after a lost ack."""
        self.events += 1
        for _ in range(2):
            await self.it.done(on(operation, workflow(name), *args), event(self.events))

    async def until(self, name: str, condition: Callable[[Body], bool]) -> Body:
        """The Workflow, once it is as it should be."""
        found: Body = {}
        try:
            async with asyncio.timeout(60):
                while not found or not condition(found):
                    found = await get(self.server, name)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"after 60 s it is still {found.get('spec')} {found.get('status')}") from None
        return found

    async def until_it_waits(self, name: str, step: int = 0) -> Body:
        """It runs, in that step."""
        return await self.until(name, lambda found: phase(found) == "Running" and f"[{step}]" in waiting(found))

    async def pod(self, gone: str = "") -> Body:
        """The pod of the Workflow's first step, once the controller has made it; not the one with that uid."""
        async with asyncio.timeout(60):
            while True:
                for pod in (await self.server.list(*PODS, "default"))["items"]:
                    if pod["metadata"]["uid"] != gone and "deletionTimestamp" not in pod["metadata"]:
                        return pod  # type: ignore[no-any-return]
                await asyncio.sleep(0.1)

    async def made(self, *known: str) -> str:
        """The name of the one Workflow that is new."""
        (name,) = {made["metadata"]["name"] for made in await workflows(self.server)} - set(known)
        return str(name)


def phase(found: Body) -> str:
    return str(found.get("status", {}).get("phase", ""))


def waiting(found: Body) -> str:
    """The suspended node that runs, as its name in the Workflow."""
    nodes = found["status"].get("nodes", {}).values()
    names = (node["name"] for node in nodes if (node["type"], node["phase"]) == ("Suspend", "Running"))
    return str(next(names, ""))


@pytest.fixture
async def argo(tmp_path: Path) -> AsyncIterator[Argo]:
    program = os.environ.get("KUBECDC_WORKFLOW_CONTROLLER")
    if not program:
        pytest.skip("KUBECDC_WORKFLOW_CONTROLLER does not name Argo's workflow-controller")
    require_assets()
    server = RealApiServer(tmp_path / "server")
    await server.start()
    try:
        await install_templates(server)
        for plural, kind in OWN.items():
            await server.create(*CRDS, "", definition(plural, "argoproj.io", "v1alpha1", kind))
        config: Body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}}
        config["data"] = {"metricsConfig": "enabled: false\n"}
        await server.create("", "v1", "configmaps", "default", config)
        with (tmp_path / "controller.log").open("wb") as log:
            controller = await asyncio.create_subprocess_exec(
                program,
                f"--kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig')}",
                "--namespace=default",
                "--namespaced",
                "--executor-image=none",
                env=os.environ | {"LEADER_ELECTION_DISABLE": "true", "ARGO_NAMESPACE": "default"},
                stdout=log,
                stderr=log,
            )
            try:
                async with bench(tmp_path / "kubeconfig") as it:
                    yield Argo(server, it)
            finally:
                controller.kill()
                await controller.wait()
    finally:
        await server.stop()


async def test_what_is_submitted_runs_waits_and_goes_on(argo: Argo) -> None:
    argo.events += 1
    for _ in range(2):
        await argo.it.done(
            on("submit", {**workflow(**SPEC), "metadata": {"generateName": "made-"}}), event(argo.events)
        )
    name = await argo.made()
    await argo.until_it_waits(name)
    await argo.act("suspend", name)
    await argo.until(name, lambda found: found["spec"].get("suspend") is True)
    await argo.act("resume", name)
    await argo.until_it_waits(name, 1)
    await argo.act("resume", name)
    found = await argo.until(name, lambda found: phase(found) == "Succeeded")
    assert found["metadata"]["labels"][f"{W}completed"] == "true"


async def test_a_failed_pod_is_made_again_by_a_retry(argo: Argo) -> None:
    pod: Body = {"name": "wait", "container": {"image": "none", "command": ["true"]}}
    await create(argo.server, workflow(**{**SPEC, "templates": [SPEC["templates"][0], pod]}))
    first = await argo.pod()
    status = {"phase": "Failed", "message": "told so"}
    await argo.server.patch(*PODS, "default", first["metadata"]["name"], {"status": status}, subresource="status")
    await argo.until("w", lambda found: phase(found) == "Failed")
    await argo.act("retry", "w")
    found = await argo.until("w", lambda found: phase(found) == "Running")
    assert found["metadata"]["labels"][f"{W}completed"] == "false", "the controller took it up"
    second = await argo.pod(first["metadata"]["uid"])
    assert second["metadata"]["name"] == first["metadata"]["name"]
    await argo.act("stop", "w")
    assert (await argo.until("w", lambda found: phase(found) == "Failed"))["spec"]["shutdown"] == "Stop"


async def test_what_has_succeeded_is_submitted_again(argo: Argo) -> None:
    await create(argo.server, workflow(**SPEC))
    for step in (0, 1):
        await argo.until_it_waits("w", step)
        await argo.act("resume", "w")
    await argo.until("w", lambda found: phase(found) == "Succeeded")
    await argo.act("resubmit", "w")
    name = await argo.made("w")
    again = await argo.until_it_waits(name)
    assert again["metadata"]["labels"][f"{W}resubmitted-from-workflow"] == "w"
    await argo.act("terminate", name)
    await argo.until(name, lambda found: phase(found) == "Failed")


@pytest.mark.parametrize("kind", ["WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"])
async def test_what_is_submitted_from_a_template_runs(argo: Argo, kind: str) -> None:
    spec = {"schedules": ["0 0 1 1 *"], "workflowSpec": SPEC} if kind == "CronWorkflow" else SPEC
    document: Body = {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": "hello"}, "spec": spec}
    await create(argo.server, document)
    argo.events += 1
    for _ in range(2):
        await argo.it.done(on("submit-from", document), event(argo.events))
    name = await argo.made()
    await argo.until_it_waits(name)
    await argo.act("resume", name)
    await argo.until_it_waits(name, 1)
    await argo.act("stop", name)
    await argo.until(name, lambda found: phase(found) == "Failed")
