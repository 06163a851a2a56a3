"""The rights in deploy/ are enough, and none of them is missing."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.apiserver import WORKFLOWS, ApiServer, simulator, workflow
from tests.cli.rig import SOURCE, Desk

RBAC = Path(__file__).parents[2] / "deploy" / "rbac.yaml"
PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


async def apply(api: ApiServer, file: Path) -> None:
    """Make everything that is in the file."""
    for document in yaml.safe_load_all(file.read_text()):
        group, _, version = document["apiVersion"].rpartition("/")
        place = document["metadata"].get("namespace", "")
        await api.create(group, version, PLURALS[document["kind"]], place, document)


async def test_the_service_account_may_do_all_that_watching_takes(tmp_path: Path) -> None:
    async with simulator(rbac=True) as api:
        await apply(api, RBAC)
        desk = Desk(tmp_path, api)
        await api.kubeconfig_of(
            desk.kubeconfig,
            "system:serviceaccount:kubecdc:kubecdc",
            "system:serviceaccounts",
            "system:serviceaccounts:kubecdc",
        )
        selected = "resource: workflows\n      namespaceSelector: {matchLabels: {env: prod}}"
        labels = "\n      filter: {labels: [{key: k, value: x}]}"
        desk.write("source.yaml", SOURCE.replace("resource: workflows", selected + labels))
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"env": "prod"}}}
        await api.create("", "v1", "namespaces", "", body)
        lease = ("--leader-election", "--lease-namespace", "kubecdc")
        asked = await desk.call("validate", "--cluster", *lease)
        assert (asked.code, asked.err) == (0, "")
        async with desk.running("run", *lease) as kubecdc:
            await api.create(*WORKFLOWS, "prod", workflow("a", labels={"k": "x"}))
            await kubecdc.until('"name":"a"', out=True)
            await api.patch(*WORKFLOWS, "prod", "a", {"metadata": {"labels": {"k": "y"}}})
            await kubecdc.until('"deselected":true', out=True)
        await api.create(*WORKFLOWS, "prod", workflow("b", labels={"k": "x"}))
        await api.expire_history()
        async with desk.running("run", *lease) as again:
            await again.until("gap repaired")
            await again.until('"name":"b"', out=True)
        for log in (kubecdc.err, again.err):
            assert "forbidden" not in log
            assert "is not checked" not in log
        events = await api.list("", "v1", "events", "prod")
        assert [event["reason"] for event in events["items"]] == ["GapRepaired"]
