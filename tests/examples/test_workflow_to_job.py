"""examples/workflow-to-job with the roles that `kubecdc rbac` writes, on the simulator and on the full Kubernetes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.apiserver import WORKFLOWS, ApiServer, workflow
from tests.cli.rig import Desk
from tests.examples.stage import EXAMPLES, WATCHER, WORKERS, Stage
from tests.workers.k8s.rig import jobs


async def test_each_workflow_that_succeeds_gets_one_job_which_it_owns(server: ApiServer, tmp_path: Path) -> None:
    stage = Stage(server, tmp_path / "desk", "workflow-to-job")
    await stage.print_roles()
    assert {document["kind"] for document in stage.documents} == {"ServiceAccount", "Role", "RoleBinding"}
    await stage.grant(WATCHER, WORKERS)
    labels = {"report": "true"}
    async with stage.watch(), stage.work():
        await server.create(*WORKFLOWS, "default", workflow("other", phase="Succeeded"))
        made = await server.create(*WORKFLOWS, "default", workflow("one", labels=labels, phase="Succeeded"))
        [job] = await jobs(server, 1)
        await server.patch(*WORKFLOWS, "default", "one", {"metadata": {"labels": {"changed": "yes"}}})
        await server.create(*WORKFLOWS, "default", workflow("two", labels=labels, phase="Succeeded"))
        found = {job["metadata"]["name"] for job in await jobs(server, 2)}
    assert found == {"report-one", "report-two"}
    [owner] = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Workflow", "one", made["metadata"]["uid"])
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["echo", "report on", "one"]


async def test_try_shows_the_job(desk: Desk) -> None:
    example = EXAMPLES / "workflow-to-job"
    event = example / "events" / "succeeded.json"
    done = await desk.call("try", "-f", str(example), "--event", str(event), manifests=False)
    assert (done.code, done.err) == (0, "")
    request = json.loads(done.out)["request"]
    assert (request["operation"], request["object"]["metadata"]["name"]) == ("patch", "report-build-7")
