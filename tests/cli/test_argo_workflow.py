"""Events that become Workflows, as users run it."""

from __future__ import annotations

import json

from tests.apiserver.client import WORKFLOWS
from tests.cli.rig import Desk

SENSOR = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: start}
spec:
  dependencies: [{name: change, eventSourceName: workflows, eventName: changed}]
  triggers:
  - template:
      name: again
      argoWorkflow:
        operation: submit
        args: [--labels, a=b, --log, -p, name=]
        source:
          resource:
            apiVersion: argoproj.io/v1alpha1
            kind: Workflow
            metadata: {generateName: made-}
            spec: {entrypoint: main}
    parameters:
    - src: {dependencyName: change, dataKey: body.metadata.name}
      dest: argoWorkflow.args.4
      operation: append
"""
EVENT = {
    "specversion": "1.0",
    "id": "changed.u.7.ADD",
    "source": "workflows",
    "subject": "changed",
    "type": "resource",
    "data": {"type": "ADD", "body": {"metadata": {"name": "w1"}}},
}


async def test_try_shows_the_workflow_and_submits_it_once(desk: Desk) -> None:
    desk.write("sensor.yaml", SENSOR)
    (desk.folder / "event.json").write_text(json.dumps(EVENT))
    done = await desk.call("try", "--event", "event.json")
    assert done.code == 0, done.err
    request = json.loads(done.out)["request"]
    assert (request["operation"], request["namespace"]) == ("submit", "default")
    shown = request["object"]
    assert shown["spec"]["arguments"] == {"parameters": [{"name": "name", "value": "w1"}]}
    assert shown["metadata"]["labels"]["a"] == "b"
    for _ in range(2):
        done = await desk.call("try", "--event", "event.json", "--execute")
        assert json.loads(done.out)["outcome"] == {"result": "success"}, done.err
    [made] = (await desk.api.list(*WORKFLOWS, "default"))["items"]
    assert made["metadata"]["name"] == shown["metadata"]["name"]
    assert made["spec"] == shown["spec"]
