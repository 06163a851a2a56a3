"""Events that become objects, as users run it."""

from __future__ import annotations

import json

from tests.apiserver import LocalSimulator
from tests.apiserver.test_rbac import READ, bind
from tests.cli.rig import ALICE, Desk
from tests.workers.k8s.rig import jobs

SENSOR = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: start}
spec:
  dependencies: [{name: change, eventSourceName: workflows, eventName: changed}]
  triggers:
  - template:
      name: job
      k8s:
        source:
          resource:
            apiVersion: batch/v1
            kind: Job
            metadata: {generateName: job-}
            spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}}
        parameters:
        - src: {dependencyName: change, dataKey: body.metadata.name}
          dest: spec.template.spec.containers.0.args.0
"""


async def test_a_worker_makes_an_object_for_each_event_and_try_shows_it(desk: Desk) -> None:
    desk.write("sensor.yaml", SENSOR)
    async with desk.running("run") as running:
        await desk.create("one")
        await desk.create("two")
        made = {job["spec"]["template"]["spec"]["containers"][0]["args"][0]: job for job in await jobs(desk.api, 2)}
    assert len([line for line in running.lines("cluster") if line["event"] == "cluster"]) == 1
    assert set(made) == {"one", "two"}
    data = {"type": "ADD", "body": {"metadata": {"name": "one"}}}
    metadata = made["one"]["metadata"]
    event_id = metadata["annotations"]["kubecdc.io/event-id"]
    given = {"id": event_id, "source": "workflows", "subject": "changed", "data": data}
    (desk.folder / "event.json").write_text(json.dumps(given))
    done = await desk.call("try", "--event", "event.json")
    request = json.loads(done.out)["request"]
    assert (request["operation"], request["namespace"]) == ("create", "default")
    assert request["object"]["metadata"]["name"] == metadata["name"]
    done = await desk.call("try", "--event", "event.json", "--execute")
    assert json.loads(done.out)["outcome"] == {"result": "success"}, done.err
    assert len(await jobs(desk.api, 2)) == 2


async def test_what_it_may_not_do_is_one_line_before_and_while_it_runs(api: LocalSimulator, alice: Desk) -> None:
    alice.write("sensor.yaml", SENSOR)
    await bind(api, ALICE, READ)
    await api.make_namespaces("default")
    done = await alice.call("validate", "--cluster")
    assert done.code == 1
    [line] = done.err.splitlines()[1:]
    assert line.startswith(
        "Sensor start, spec.triggers[0].template.k8s: not allowed to get, create jobs.batch in namespace default; "
    )
    async with alice.running("run") as running:
        await alice.create("one")
        await running.until("the trigger failed")
        [failed] = running.lines("the trigger failed")
        assert "create Job default/job-" in str(failed["reason"])
        assert "403 jobs.batch is forbidden" in str(failed["reason"])
        granted = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"]}
        await bind(api, ALICE, [granted], namespace="default")
        assert len(await jobs(api, 1)) == 1


async def test_without_a_cluster_workers_end_with_one_line(desk: Desk) -> None:
    desk.write("sensor.yaml", SENSOR)
    desk.environment = {"HOME": str(desk.folder)}
    done = await desk.call("work")
    assert (done.code, "kubecdc: " in done.err.splitlines()[-2]) == (2, True), done.err
    assert "Traceback" not in done.err
