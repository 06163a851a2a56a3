"""examples/workflow-to-job with the roles that `kubecdc rbac` writes, and without them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from kubecdc.workers.objects.kinds import guess
from tests.apiserver import WORKFLOWS, ApiServer, LocalSimulator, RealApiServer, require_assets, simulator, workflow
from tests.cli.rig import Desk
from tests.workers.k8s.rig import jobs

EXAMPLE = Path(__file__).parents[2] / "examples" / "workflow-to-job" / "manifests.yaml"
HOME = "kubecdc"


@pytest.fixture(params=["simulator", pytest.param("real", marks=pytest.mark.long)])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ApiServer]:
    if request.param == "simulator":
        async with simulator(rbac=True, namespaces=["default", HOME]) as api:
            yield api
        return
    require_assets()
    real = RealApiServer(tmp_path / "real")
    await real.start()
    await real.make_namespaces(HOME)
    yield real
    await real.stop()


async def apply(api: ApiServer, documents: list[dict[str, Any]], account: str) -> None:
    """Create what belongs to an account."""
    for document in documents:
        if document["metadata"]["name"].startswith(account):
            resource = guess(document["apiVersion"], document["kind"], document["metadata"].get("namespace", ""))
            await api.create(resource.group, resource.version, resource.resource, resource.namespace, document)


async def test_the_roles_are_enough_and_without_them_one_line_says_what_is_missing(
    server: ApiServer, tmp_path: Path
) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk(folder, cast(LocalSimulator, server))
    for file in desk.manifests.iterdir():
        file.unlink()
    shutil.copy(EXAMPLE, desk.manifests)
    done = await desk.call("rbac", "--namespace", HOME, "--cluster")
    assert (done.code, done.err) == (0, "")
    documents = list(yaml.safe_load_all(done.out))
    assert {document["kind"] for document in documents} == {"ServiceAccount", "Role", "RoleBinding"}
    config = {}
    for account in ("kubecdc-watch", "kubecdc-work"):
        user, groups = f"system:serviceaccount:{HOME}:{account}", ["system:serviceaccounts", "system:authenticated"]
        config[account] = str(await server.kubeconfig_of(folder / account, user, *groups))
    labels = {"report": "true"}
    async with desk.running("watch", "--kubeconfig", config["kubecdc-watch"]) as watch:
        await watch.until("cannot list resource")
        [line] = watch.lines("cannot list resource")
        assert "workflows" in str(line["event"])
        await apply(server, documents, "kubecdc-watch")
        await watch.until("recovered")
        await server.create(*WORKFLOWS, "default", workflow("other", phase="Succeeded"))
        made = await server.create(*WORKFLOWS, "default", workflow("one", labels=labels, phase="Succeeded"))
        async with desk.running("work", "--kubeconfig", config["kubecdc-work"]) as work:
            await work.until("the trigger failed")
            [line] = work.lines("the trigger failed")
            assert str(line["reason"]).startswith("patch Job default/report-one: 403 jobs.batch ")
            assert "`kubectl create role kubecdc-jobs -n default --verb=get,create,patch" in str(line["reason"])
            await apply(server, documents, "kubecdc-work")
            [job] = await jobs(server, 1)
            await server.patch(*WORKFLOWS, "default", "one", {"metadata": {"labels": {"changed": "yes"}}})
            await server.create(*WORKFLOWS, "default", workflow("two", labels=labels, phase="Succeeded"))
            found = {job["metadata"]["name"] for job in await jobs(server, 2)}
    assert found == {"report-one", "report-two"}
    [owner] = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Workflow", "one", made["metadata"]["uid"])
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["echo", "report on", "one"]
