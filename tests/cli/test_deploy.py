"""The rights that `kubecdc rbac` prints, and those in deploy/, are enough."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from kubecdc.cluster.connection import Cluster
from kubecdc.errors import Unavailable
from kubecdc.storage.configmap.manifest import ConfigMapCheckpoint
from kubecdc.storage.configmap.opened import OpenedStore
from kubecdc.storage.configmap.store_type import ConfigMapStore
from kubecdc.storage.contracts import StateChange, Term
from kubecdc.storage.contracts.types import ClusterAccess, Opening
from tests.apiserver import WORKFLOWS, ApiServer, LocalSimulator, simulator, workflow
from tests.cli.rig import SOURCE, Desk
from tests.cluster.test_recorder import make_pod, written
from tests.deploy.tools import OVERLAYS, Document, built

PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


async def apply(api: ApiServer, documents: Iterable[Document]) -> None:
    """Make the accounts and their rights, and the namespaces of these."""
    made = [document for document in documents if document["kind"] in PLURALS]
    await api.make_namespaces(*{document["metadata"].get("namespace", "default") for document in made})
    for document in made:
        if document["kind"] != "Namespace":
            group, _, version = document["apiVersion"].rpartition("/")
            place = document["metadata"].get("namespace", "")
            await api.create(group, version, PLURALS[document["kind"]], place, document)


async def test_the_service_account_may_do_all_that_watching_takes(tmp_path: Path) -> None:
    async with simulator(rbac=True) as api:
        desk = Desk(tmp_path, api)
        desk.environment |= {"POD_NAMESPACE": "kubecdc", "POD_NAME": "kubecdc-watch-5c9-x"}
        await api.kubeconfig_of(
            desk.kubeconfig,
            "system:serviceaccount:kubecdc:kubecdc-watch",
            "system:serviceaccounts",
            "system:serviceaccounts:kubecdc",
        )
        selected = "resource: workflows\n      namespaceSelector: {matchLabels: {env: prod}}"
        labels = "\n      filter: {labels: [{key: k, value: x}]}"
        desk.write("source.yaml", SOURCE.replace("resource: workflows", selected + labels))
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"env": "prod"}}}
        await api.create("", "v1", "namespaces", "", body)
        lease = ("--leader-election", "--lease-namespace", "kubecdc")
        await apply(api, yaml.safe_load_all((await desk.call("rbac", "--namespace", "kubecdc", *lease)).out))
        asked = await desk.call("validate", "--cluster", *lease)
        assert (asked.code, asked.err) == (0, "")
        async with desk.running("run", *lease) as kubecdc:
            await api.create(*WORKFLOWS, "prod", workflow("a", labels={"k": "x"}))
            await kubecdc.until('"name":"a"', out=True)
            await api.patch(*WORKFLOWS, "prod", "a", {"metadata": {"labels": {"k": "y"}}})
            await kubecdc.until('"deselected":true', out=True)
        await api.create(*WORKFLOWS, "prod", workflow("b", labels={"k": "x"}))
        await api.expire_history()
        deployment = await make_pod(api, "kubecdc")
        async with desk.running("run", *lease) as again:
            await again.until("gap repaired")
            await again.until('"name":"b"', out=True)
            (event,) = await written(api, namespace="kubecdc")
        for log in (kubecdc.err, again.err):
            assert "forbidden" not in log
            assert "is not checked" not in log
        assert (event["reason"], event["involvedObject"]["uid"]) == ("GapRepaired", deployment)


async def test_watcher_and_workers_may_use_their_own_config_map_only(tmp_path: Path) -> None:
    async with simulator(rbac=True) as api:
        await apply(api, built(OVERLAYS / "sqs"))
        watcher, worker = [
            await opened_as(api, tmp_path / account, f"system:serviceaccount:kubecdc:{account}")
            for account in ("kubecdc-watch", "kubecdc-work")
        ]
        try:
            given = StateChange(value=b"1", ttl=timedelta(hours=1))
            await worker.state.put("print/line", "key", given)
            again = StateChange(value=b"2", ttl=timedelta(hours=1), follows=given.token)
            await worker.state.put("print/line", "key", again)
            for term in (1, 2):
                await watcher.checkpoints.acquire("key", Term(term, "watcher"))
            with pytest.raises(Unavailable, match=r"forbidden \(403\)"):
                await worker.checkpoints.checkpoints()
        finally:
            await watcher.close()
            await worker.close()


async def opened_as(api: LocalSimulator, kubeconfig: Path, user: str) -> OpenedStore:
    """The checkpoint store as a pod of a service account opens it."""
    await api.kubeconfig_of(kubeconfig, user, "system:serviceaccounts", "system:serviceaccounts:kubecdc")
    access = ClusterAccess(lambda: Cluster(str(kubeconfig)), "kubecdc")
    opened = await ConfigMapStore().open(ConfigMapCheckpoint(), "default", Opening("test", access))
    assert isinstance(opened, OpenedStore)
    return opened
