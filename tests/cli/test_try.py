"""`kubecdc try`: an event through the Sensors, on nobody's network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import SENSOR, Desk
from tests.workers.peer import saying, serving

EVENT = {
    "specversion": "1.0",
    "id": "changed.u.7.ADD",
    "source": "workflows",
    "subject": "changed",
    "type": "resource",
    "data": {"type": "ADD", "body": {"metadata": {"name": "w1"}, "big": 123456789012345678901234567890}},
}
OTHER = SENSOR.replace("name: print", "name: other").replace("eventName: changed", "eventName: done")


def post(url: str) -> str:
    return f"""\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: post}}
spec:
  dependencies: [{{name: change, eventSourceName: workflows, eventName: changed}}]
  triggers:
  - template:
      name: send
      http:
        url: {url}
        payload: [{{src: {{dependencyName: change, dataKey: body.metadata.name}}, dest: name}}]
        secureHeaders: [{{name: X-Token, valueFrom: {{secretKeyRef: {{name: api, key: token}}}}}}]
"""


@pytest.fixture
def event(desk: Desk) -> Path:
    path = desk.folder / "event.json"
    path.write_text(json.dumps(EVENT, indent=2))
    desk.environment = {"HOME": str(desk.folder)}  # no cluster
    (desk.manifests / "source.yaml").unlink()
    return path


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


async def test_there_is_a_line_for_each_trigger_whether_it_matches_or_not(desk: Desk, event: Path) -> None:
    desk.write("other.yaml", OTHER)
    done = await desk.call("try", "--event", str(event))
    assert done.code == 0, done.err
    found = {line["sensor"]: line for line in lines(done.out)}
    assert set(found) == {"print", "other"}
    assert list(found["print"]) == ["sensor", "trigger", "dependency", "matched", "reason", "request"]
    assert (found["print"]["trigger"], found["print"]["dependency"]) == ("line", "change")
    assert (found["print"]["matched"], found["print"]["reason"]) == (True, None)
    assert found["print"]["request"]["data"] == EVENT["data"]
    assert found["print"]["request"]["eventContext"]["id"] == EVENT["id"]
    assert (found["other"]["matched"], found["other"]["request"]) == (False, None)
    assert "workflows/done" in found["other"]["reason"]
    assert not (desk.folder / "kubecdc.db").exists()


async def test_several_events_meet_the_conditions_together(desk: Desk, event: Path) -> None:
    two = SENSOR.replace(
        "eventName: changed}", "eventName: changed}, {name: other, eventSourceName: workflows, eventName: done}"
    )
    desk.write("sensor.yaml", two)
    other = desk.folder / "other.json"
    other.write_text(json.dumps({**EVENT, "subject": "done"}))
    done = await desk.call("try", "--event", str(event))
    assert done.code == 0, done.err
    assert [(line["dependency"], line["matched"], line["reason"]) for line in lines(done.out)] == [
        ("change", True, "the conditions are not met yet: there is no event of `other`"),
        ("other", False, "the dependency needs workflows/done, the event is workflows/changed"),
    ]
    done = await desk.call("try", "--event", str(event), "--event", str(other))
    found = [(line["dependency"], line["matched"], line["request"] is not None) for line in lines(done.out)]
    assert found == [("change", True, False), ("other", False, False), ("change", False, False), ("other", True, True)]


async def test_an_http_request_is_shown_without_its_secrets_and_not_sent(desk: Desk, event: Path) -> None:
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", post(peer.url))
        done = await desk.call("try", "--event", "-", stdin=event.read_text())
    (line,) = lines(done.out)
    assert (done.code, peer.received) == (0, [])
    request = line["request"]
    assert (request["method"], request["url"], request["body"]) == ("POST", peer.url, {"name": "w1"})
    assert (request["headers"]["X-Token"], request["headers"]["ce-id"]) == ("***", EVENT["id"])


async def test_with_execute_it_is_sent_once_and_the_outcome_told(desk: Desk, event: Path) -> None:
    async with serving(saying(200)) as peer:
        desk.write("sensor.yaml", post(peer.url) + "---\n" + SENSOR)
        given = ["try", "--event", str(event), "--execute", "--secrets-dir", str(desk.folder / "mounted")]
        missing = await desk.call(*given)
        assert (missing.code, peer.received) == (1, [])
        assert "key `token` of Secret `api` is not mounted" in lines(missing.out)[0]["outcome"]["reason"]
        (desk.folder / "mounted" / "api").mkdir(parents=True)
        (desk.folder / "mounted" / "api" / "token").write_text("s3cr3t")
        done = await desk.call(*given)
    assert done.code == 0, done.err
    assert [line["outcome"] for line in lines(done.out)] == [{"result": "success"}] * 2
    assert [r.headers["x-token"] for r in peer.received] == ["s3cr3t"]
    assert "s3cr3t" not in done.out
    assert json.loads(done.err)["data"] == EVENT["data"], "the line of the log trigger"


@pytest.mark.parametrize(("status", "result"), [(503, "retry"), (400, "failure")])
async def test_a_trigger_that_fails_gives_exit_code_1(desk: Desk, event: Path, status: int, result: str) -> None:
    (desk.folder / "api").mkdir()
    (desk.folder / "api" / "token").write_text("t")
    async with serving(saying(status)) as peer:
        desk.write("sensor.yaml", post(peer.url))
        done = await desk.call("try", "--event", str(event), "--execute", "--secrets-dir", str(desk.folder))
    (line,) = lines(done.out)
    assert (done.code, line["outcome"]["result"]) == (1, result)
    assert str(status) in line["outcome"]["reason"]


async def test_a_parameter_that_the_event_does_not_have_is_the_reason(desk: Desk, event: Path) -> None:
    desk.write("sensor.yaml", post("http://x").replace("body.metadata.name", "body.nowhere"))
    done = await desk.call("try", "--event", str(event))
    (line,) = lines(done.out)
    assert (done.code, line["matched"], line["request"]) == (1, True, None)
    assert "body.nowhere" in line["reason"]
    done = await desk.call("try", "--event", str(event), "--execute")
    assert (done.code, lines(done.out)[0]["outcome"]["result"]) == (1, "failure")


async def test_what_a_transform_makes_of_the_event_is_shown_and_taken(desk: Desk, event: Path) -> None:
    dependency = "eventName: changed"
    makes = '{body: {metadata: {name: (.body.metadata.name + "-new")}}, big: .body.big}'
    desk.write("sensor.yaml", post("http://x").replace(dependency, f"{dependency}, transform: {{jq: '{makes}'}}"))
    fails = "return {name = event.body.nothing.name}"
    desk.write("other.yaml", SENSOR.replace(dependency, f"{dependency}, transform: {{script: '{fails}'}}"))
    done = await desk.call("try", "--event", str(event))
    assert done.code == 1, "what one trigger would do cannot be made"
    failed, sent = lines(done.out)
    assert sent["transformed"] == {"body": {"metadata": {"name": "w1-new"}}, "big": EVENT["data"]["body"]["big"]}  # type: ignore[index]
    assert (sent["request"]["body"], sent["request"]["headers"]["ce-id"]) == ({"name": "w1-new"}, EVENT["id"])
    assert "123456789012345678901234567890" in done.out
    assert (failed["matched"], failed["request"]) == (True, None)
    assert failed["reason"] == "transform.script: script:1: attempt to index field 'nothing' (a nil value)"
    done = await desk.call(
        "try", "--event", str(event), "--execute", "-f", str(desk.manifests / "other.yaml"), manifests=False
    )
    assert (done.code, lines(done.out)[0]["outcome"]["result"]) == (1, "failure")


async def test_templates_are_rendered_and_the_request_of_a_dlq_trigger_is_shown(desk: Desk, event: Path) -> None:
    template = "{{ .Input.body.metadata.name | upper }} {{ .Input.type | lower }}"
    sensor = post("http://x").replace("dataKey: body.metadata.name", f"dataTemplate: '{template}'")
    error = "{src: {dependencyName: change, contextTemplate: '{{ .Input.error }}: {{ .Input.attempts }}'}, dest: why}"
    sensor += f"    dlqTrigger: {{template: {{name: dlq, http: {{url: 'http://y', payload: [{error}]}}}}}}\n"
    desk.write("sensor.yaml", sensor)
    done = await desk.call("try", "--event", str(event))
    assert done.code == 0, done.err
    [line] = lines(done.out)
    assert line["request"]["body"] == {"name": "W1 add"}
    assert (line["dlqTrigger"]["trigger"], line["dlqTrigger"]["request"]["url"]) == ("dlq", "http://y")
    assert line["dlqTrigger"]["request"]["body"] == {"why": "(the reason of the dead letter): 1"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("[" * 100_000, "is nested too deep"),
        ('{"source": "a", "subject": "b", "data": {}}', "`id`"),
        (json.dumps({**EVENT, "id": 7}), "`$.id`"),
        ('{"apiVersion": "v1", "kind": "Pod", "metadata": {}}', "is a Kubernetes object"),
    ],
)
async def test_a_broken_event_is_named_with_the_reason(desk: Desk, event: Path, text: str, reason: str) -> None:
    event.write_text(text)
    done = await desk.call("try", "--event", str(event))
    assert (done.code, done.out) == (2, "")
    assert f"{event} is" in done.err
    assert reason in done.err


async def test_an_event_file_that_is_not_there_is_named(desk: Desk, event: Path) -> None:
    done = await desk.call("try", "--event", "nowhere.json")
    assert (done.code, "nowhere.json: No such file" in done.err) == (2, True), done.err


def filtered(text: str) -> str:
    return SENSOR.replace("eventName: changed}", f"eventName: changed, {text}}}")


async def test_filters_are_shown_with_what_is_false_and_what_failed(desk: Desk, event: Path) -> None:
    missing = "{path: body.status.phase, type: string, value: [Failed]}"
    added = "{path: type, type: string, value: [^ADD$]}"
    desk.write(
        "sensor.yaml",
        filtered(f"filtersLogicalOperator: or, filters: {{data: [{missing}], context: {{type: resource}}}}"),
    )
    passed = await desk.call("try", "--event", str(event))
    [line] = lines(passed.out)
    failure = "filters.data[0] (body.status.phase = Failed): the event has nothing at 'body.status.phase'"
    assert (passed.code, line["request"]["data"]) == (0, EVENT["data"])
    assert line["filters"] == {"passed": True, "false": [], "errors": [failure]}

    desk.write(
        "sensor.yaml", filtered(f"filters: {{dataLogicalOperator: or, data: [{missing}, {added.replace('ADD', 'X')}]}}")
    )
    out = await desk.call("try", "--event", str(event), "--execute")
    [line] = lines(out.out)
    assert (out.code, line["matched"], line["request"]) == (0, True, None)
    assert line["filters"] == {"passed": False, "false": ["filters.data[1] (type = ^X$)"], "errors": [failure]}
    assert line["reason"] == (
        f"the filters of the dependency do not let it pass: filters.data[1] (type = ^X$) is false; {failure}"
    )

    expression = "{expr: 'big =~ big', fields: [{name: big, path: body.pattern}]}"
    desk.write("sensor.yaml", filtered(f"filters: {{exprs: [{expression}]}}"))
    event.write_text(json.dumps({**EVENT, "data": {"body": {"pattern": "a" * 300}}}))
    beyond = await desk.call("try", "--event", str(event), "--execute")
    [line] = lines(beyond.out)
    assert (beyond.code, line["outcome"]["result"]) == (1, "failure")
    assert line["reason"].endswith(
        "cannot judge the event: filters.exprs[0] (big =~ big): a regular expression of the event is too large"
    )


async def test_a_sample_of_each_entry_is_an_event_to_begin_with(desk: Desk) -> None:
    desk.entry(filter={"labels": [{"key": "app", "value": "web"}]}, eventTypes=["DELETE"], namespace="prod")
    done = await desk.call("try", "--sample")
    assert done.code == 0, done.err
    event = json.loads(done.out)
    assert (event["source"], event["subject"], event["data"]["type"]) == ("workflows", "changed", "DELETE")
    metadata = event["data"]["body"]["metadata"]
    assert (metadata["namespace"], metadata["labels"]) == ("prod", {"app": "web"})
    tried = await desk.call("try", "--event", "-", stdin=done.out)
    assert [line["matched"] for line in lines(tried.out)] == [True]


async def test_the_event_of_an_object_of_the_cluster_is_tried(desk: Desk) -> None:
    desk.entry(
        filter={"fields": [{"key": "spec.n", "value": "1"}], "labels": [{"key": "app", "value": "web"}]},
        project={"redact": ["spec.data"], "drop": ["spec.n"]},
        eventTypes=["ADD"],
    )
    labels = {"app": "web"}
    made = await desk.api.create(*WORKFLOWS, "default", workflow("w1", labels=labels, n=1, data={"a": "s3cret"}))
    done = await desk.call("try", "--object", "workflows/w1", "-n", "default")
    assert (done.code, done.err) == (0, "")
    (line,) = lines(done.out)
    request = line["request"]
    assert (
        request["eventContext"]["id"] == f"changed.{made['metadata']['uid']}.{made['metadata']['resourceVersion']}.ADD"
    )
    assert request["data"]["body"]["spec"] == {"data": {"a": "[redacted]"}}
    await desk.api.patch(*WORKFLOWS, "default", "w1", {"spec": {"n": 2}})
    done = await desk.call("try", "--object", "workflows.argoproj.io/w1", "-n", "default")
    assert done.err == "notice: workflows/changed makes no event of it: filter.fields\n"
    await desk.api.patch(*WORKFLOWS, "default", "w1", {"metadata": {"labels": {"app": "other"}}})
    done = await desk.call("try", "--object", "workflows/w1", "-n", "default")
    assert done.err == "notice: workflows/changed makes no event of it: filter.labels\n"
    done = await desk.call("try", "--object", "workflows/w1", "-n", "default", "--type", "DELETE")
    assert done.err == "notice: workflows/changed makes no event of it: eventTypes has no DELETE\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "give one of --event, --object and --sample"),
        (["--sample", "--object", "workflows/w1"], "give one of"),
        (["--object", "workflows"], "is not KIND/NAME"),
        (["--object", "pods/w1"], "they watch workflows.argoproj.io"),
        (["--object", "workflows/w1"], "give its namespace with --namespace"),
        (["--object", "workflows/w1", "-n", "other"], "there is no workflows/w1 in namespace other"),
    ],
)
async def test_what_names_no_event_is_told(desk: Desk, given: list[str], said: str) -> None:
    await desk.create("w1")
    done = await desk.call("try", *given)
    assert (done.code, said in done.err) == (2, True), done.err
