"""An argoWorkflow trigger on a simulated API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.shared import SharedCluster
from tests.apiserver.client import CRDS, WORKFLOWS, ApiServer
from tests.apiserver.resources import definition
from tests.workers.k8s.rig import Bench

Body = dict[str, Any]
W = "workflows.argoproj.io/"
TEMPLATES = {
    "WorkflowTemplate": "workflowtemplates",
    "ClusterWorkflowTemplate": "clusterworkflowtemplates",
    "CronWorkflow": "cronworkflows",
}


class WorkflowBench(Bench):
    type = "argoWorkflow"


def workflow(name: str = "w", *, labels: Body | None = None, status: Body | None = None, **spec: Any) -> Body:
    metadata: Body = {"name": name, **({"labels": labels} if labels else {})}
    made = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec}
    return made | ({"status": status} if status else {})


def on(operation: str, document: Body | None = None, *args: str, **more: Any) -> Body:
    """A config."""
    return {"operation": operation, "source": {"resource": document or workflow()}, "args": list(args), **more}


async def get(api: ApiServer, name: str = "w") -> Body:
    return await api.get(*WORKFLOWS, "default", name)


async def create(api: ApiServer, document: Body) -> Body:
    """Create an object of Argo Workflows."""
    kind = document["kind"]
    plural = TEMPLATES.get(kind, "workflows")
    namespace = "" if kind.startswith("Cluster") else "default"
    return await api.create("argoproj.io", "v1alpha1", plural, namespace, document)


async def install_templates(api: ApiServer) -> None:
    """The kinds that workflows are submitted from."""
    for kind, plural in TEMPLATES.items():
        namespaced = not kind.startswith("Cluster")
        made = definition(plural, "argoproj.io", "v1alpha1", kind, namespaced=namespaced)
        await api.create(*CRDS, "", made)


async def workflows(api: ApiServer) -> list[Body]:
    found: list[Body] = (await api.list(*WORKFLOWS, "default"))["items"]
    return found


@asynccontextmanager
async def bench(kubeconfig: Path) -> AsyncIterator[WorkflowBench]:
    async with aclosing(SharedCluster(lambda: Cluster(str(kubeconfig)))) as cluster:
        yield WorkflowBench(kubeconfig, cluster)
