"""Two installations in two namespaces of a Kubernetes: the second takes nothing from the first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from kubecdc.cli.commands.rbac import rbac
from tests.apiserver import RealApiServer
from tests.deploy.cluster import Cluster
from tests.deploy.test_helm import CHART
from tests.deploy.tools import DEPLOY, output
from tests.harness.kubelet import Kubelet

pytestmark = pytest.mark.long
HOMES = ("one", "two")
MANIFESTS = DEPLOY / "kustomize" / "components" / "one-namespace" / "manifests.yaml"  # watches `default`


@pytest.fixture
async def desk(server: RealApiServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The server without a node, and the namespaces of both."""
    cluster = Cluster(server, Kubelet(server, tmp_path, "kubecdc"), tmp_path)
    try:
        await server.make_namespaces(*HOMES)
        yield cluster
        for home in HOMES:
            await cluster.clear(home)
    finally:
        await server.close()


async def bound(desk: Cluster, namespace: str) -> list[tuple[str, str]]:
    """Namespace and name of the accounts of kubecdc to which something is granted there."""
    found = json.loads(await desk.kubectl("get", "rolebindings", "-n", namespace, "-o", "json"))
    subjects = [subject for binding in found["items"] for subject in binding["subjects"]]
    return sorted((s["namespace"], s["name"]) for s in subjects if s["name"].startswith("kubecdc-"))


async def test_each_keeps_what_rbac_prints_for_it(desk: Cluster) -> None:
    for home in HOMES:
        done = CliRunner().invoke(rbac, ["-f", str(MANIFESTS), "--namespace", home], catch_exceptions=False)
        await desk.kubectl("apply", "-f", "-", stdin=done.stdout)
    for namespace in ("default", "kube-system"):
        assert await bound(desk, namespace) == [(home, "kubecdc-watch") for home in HOMES]


async def test_helm_installs_releases_of_one_name_in_both(desk: Cluster) -> None:
    values = ("--set", "rbac.namespaces={default}", "--set-file", f"manifests.manifests\\.yaml={MANIFESTS}")
    for home in HOMES:
        command = ("install", "kubecdc", CHART, "--kubeconfig", desk.kubeconfig, "-n", home, *values)
        await asyncio.to_thread(output, "helm", *command)
    for namespace in ("default", "kube-system"):
        assert await bound(desk, namespace) == [(home, "kubecdc-watch") for home in HOMES]
