"""submit, submit-from and resubmit: which Workflow is made, and that it is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.workers.objects.marks import EVENT_ID, EVENT_SOURCE, SENSOR, TIMESTAMP, TRACEPARENT, TRIGGER
from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.triggers.argo_workflow import access
from kubecdc.workers.triggers.argo_workflow.manifest import ArgoWorkflow
from tests.apiserver import LocalSimulator
from tests.harness.proxy import Proxy
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
from tests.workers.k8s.rig import parameter
from tests.workers.support import event

OF_ANOTHER_RUN = {"kubecdc.io/changes": "x", TRACEPARENT: "00-cc-dd-01"}
GENERATED: Body = {**workflow(entrypoint="main"), "metadata": {"generateName": "hello-"}}


def template(kind: str, **spec: object) -> Body:
    metadata = {"name": "hello", "labels": {"own": "label"}}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


async def test_a_workflow_is_what_the_source_and_the_arguments_say(api: LocalSimulator, it: WorkflowBench) -> None:
    old = {f"{W}phase": "Succeeded", f"{W}completed": "true", f"{W}controller-instanceid": "x", "kept": "1", "a": "0"}
    arguments = {
        "parameters": [{"name": "kept", "value": "k"}, {"name": "message", "enum": ["x"]}],
        "artifacts": [{"name": "file"}],
    }
    given = workflow(labels=old, status={"phase": "Succeeded"}, arguments=arguments, entrypoint="other")
    args = ("-p", "message=hi", "-p", "new=1", "-l", "a=b", "--entrypoint", "main", "--serviceaccount", "runner")
    written = [parameter("spec.arguments.parameters.0.value", "body.metadata.name")]
    await it.done(on("submit", given, *args, "--priority", "7", parameters=written))
    found = await get(api)
    labels = found["metadata"]["labels"]
    assert labels.pop(TIMESTAMP).isdigit()
    assert labels == {"kept": "1", "a": "b", SENSOR: "s", TRIGGER: "t"}
    assert found["metadata"]["annotations"] == {EVENT_SOURCE: "workflows", EVENT_ID: event().id}
    assert found["spec"] == {
        "entrypoint": "main",
        "serviceAccountName": "runner",
        "priority": 7,
        "arguments": {
            "parameters": [
                {"name": "message", "value": "hi"},
                {"name": "new", "value": "1"},
                {"name": "kept", "value": "w1"},
            ],
            "artifacts": [{"name": "file"}],
        },
    }
    assert "status" not in found


async def test_a_repeated_event_submits_once(api: LocalSimulator, it: WorkflowBench) -> None:
    for number in (1, 2, 1):
        await it.done(on("submit", GENERATED), event(number))
    names = [found["metadata"]["name"] for found in await workflows(api)]
    assert len(names) == 2
    assert all(name.startswith("hello-") for name in names)
    await it.done(on("submit", GENERATED, "--name", "mine", "--instanceid", "i"))
    assert (await get(api, "mine"))["metadata"]["labels"][f"{W}controller-instanceid"] == "i"
    outcome = await it.run(on("submit", workflow("mine")), event(2))
    assert isinstance(outcome, Failure)
    assert "it was not made for this event" in outcome.reason


async def test_a_lost_reply_submits_once(api: LocalSimulator, tmp_path: Path) -> None:
    async with Proxy(api.simulator.port) as proxy:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        kubeconfig.write_text(kubeconfig.read_text().replace(f":{api.simulator.port}", f":{proxy.port}"))
        async with bench(kubeconfig) as it:
            await it.done(on("submit", workflow("first")), event(7))
            proxy.drop_reply(b"POST")
            assert isinstance(await it.run(on("submit", GENERATED)), Retry)
            assert len(await workflows(api)) == 2, "the request has arrived"
            await it.done(on("submit", GENERATED))
    assert len(await workflows(api)) == 2


@pytest.mark.parametrize(
    ("kind", "label", "spec"),
    [
        ("WorkflowTemplate", "workflow-template", {"workflowTemplateRef": {"name": "hello"}}),
        (
            "ClusterWorkflowTemplate",
            "cluster-workflow-template",
            {"workflowTemplateRef": {"name": "hello", "clusterScope": True}},
        ),
    ],
)
async def test_submit_from_a_template_refers_to_it(
    api: LocalSimulator, it: WorkflowBench, kind: str, label: str, spec: Body
) -> None:
    await install_templates(api)
    config = on("submit-from", template(kind, arguments={"parameters": [{"name": "a"}]}), "-p", "a=1")
    outcome = await it.run(config)
    assert isinstance(outcome, Retry), "the API server would take a Workflow without its template"
    assert await workflows(api) == []
    await create(api, template(kind))
    for _ in range(2):
        await it.done(config)
    [found] = await workflows(api)
    assert found["metadata"]["name"].startswith("hello-")
    assert found["spec"] == {**spec, "arguments": {"parameters": [{"name": "a", "value": "1"}]}}
    labels = found["metadata"]["labels"]
    assert (labels[f"{W}{label}"], labels[SENSOR], labels.get("own")) == ("hello", "s", None)


async def test_submit_from_a_cron_workflow_copies_its_workflow(api: LocalSimulator, it: WorkflowBench) -> None:
    await install_templates(api)
    more = {"labels": {"x": "y"}, "annotations": {"n": "o"}, "finalizers": ["example.com/f"]}
    spec = {"suspend": True, "workflowSpec": {"entrypoint": "main"}, "workflowMetadata": more}
    made = await create(api, template("CronWorkflow", **spec))
    for _ in range(2):
        await it.done(on("submit-from", template("CronWorkflow")))
    [found] = await workflows(api)
    metadata = found["metadata"]
    assert found["spec"] == {"entrypoint": "main"}
    assert (metadata["labels"][f"{W}cron-workflow"], metadata["labels"]["x"]) == ("hello", "y")
    assert metadata["annotations"]["n"] == "o"
    assert metadata["annotations"][f"{W}scheduled-time"].endswith("Z")
    assert metadata["finalizers"] == ["example.com/f"]
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "CronWorkflow", "name": "hello"}
    assert metadata["ownerReferences"] == [
        {**owner, "uid": made["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    ]


async def test_resubmit_runs_the_same_workflow_again(api: LocalSimulator, it: WorkflowBench) -> None:
    labels = {f"{W}phase": "Failed", f"{W}completed": "true", f"{W}creator": "somebody", f"{W}workflow-template": "t"}
    old = workflow(labels=labels, status={"phase": "Failed"}, shutdown="Stop", suspend=True, activeDeadlineSeconds=0)
    old["spec"]["arguments"] = {"parameters": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]}
    old["metadata"] |= {"annotations": OF_ANOTHER_RUN | {"n": "o"}, "finalizers": ["example.com/f"]}
    await create(api, old)
    for _ in range(2):
        await it.done(on("resubmit", None, "-p", "b=3"))
    assert len(await workflows(api)) == 2
    [found] = [one for one in await workflows(api) if one["metadata"]["name"] != "w"]
    metadata = found["metadata"]
    metadata["labels"].pop(TIMESTAMP)
    assert metadata["labels"] == {
        f"{W}workflow-template": "t",
        f"{W}resubmitted-from-workflow": "w",
        SENSOR: "s",
        TRIGGER: "t",
    }
    assert metadata["annotations"] == {"n": "o", EVENT_SOURCE: "workflows", EVENT_ID: event().id}
    assert (metadata["name"][:2], "finalizers" in metadata, "status" in found) == ("w-", False, False)
    parameters = [{"name": "b", "value": "3"}, {"name": "a", "value": "1"}]
    assert found["spec"] == {"suspend": True, "arguments": {"parameters": parameters}}


@pytest.mark.parametrize(
    ("operation", "document"),
    [
        ("submit", workflow()),
        ("submit-from", template("WorkflowTemplate")),
        ("submit-from", template("ClusterWorkflowTemplate")),
        ("submit-from", template("CronWorkflow", workflowSpec={})),
        ("resubmit", workflow("old")),
    ],
)
async def test_what_is_made_names_the_trace_of_its_event(
    api: LocalSimulator, it: WorkflowBench, operation: str, document: Body
) -> None:
    if operation != "submit":
        await install_templates(api)
        await create(api, document)
    await it.done(on(operation, document), event(1, traceparent="00-aa-bb-01"))
    [made] = [one for one in await workflows(api) if one["metadata"]["name"] != "old"]
    assert made["metadata"]["annotations"][TRACEPARENT] == "00-aa-bb-01"


async def test_a_policy_waits_for_the_workflow_that_was_made(api: LocalSimulator, it: WorkflowBench) -> None:
    policy = {"k8s": {"labels": {f"{W}phase": "Succeeded"}, "backoff": {"steps": 1}, "errorOnBackoffTimeout": True}}
    config = on("submit", GENERATED)
    assert isinstance(await it.run(config, policy=policy), Retry)
    [made] = await workflows(api)
    name = made["metadata"]["name"]
    patch = {"metadata": {"labels": {f"{W}phase": "Succeeded"}}}
    await api.patch("argoproj.io", "v1alpha1", "workflows", "default", name, patch)
    assert await it.run(config, policy=policy) == Success()
    assert len(await workflows(api)) == 1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (on("submit", template("WorkflowTemplate")), "submit takes a Workflow; `operation: submit-from` submits one"),
        (on("submit-from", workflow()), "takes WorkflowTemplate, ClusterWorkflowTemplate, CronWorkflow"),
        (on("submit", {**workflow(), "metadata": {}}), "it has neither `metadata.name` nor `metadata.generateName`"),
        (on("submit", workflow("x" * 64)), "its name has more than 63 characters"),
        (on("submit", {**workflow(), "spec": None}), "it has no `spec`"),
        (on("submit", workflow(arguments={"parameters": {}, "x": 1}) | {"apiVersion": "v1"}), "is not one of argoproj"),
        (on("stop", {**workflow(), "metadata": {}}), "it has no `metadata.name`, which stop needs"),
    ],
)  # fmt: skip
def test_an_object_that_the_operation_cannot_use_is_a_dead_letter(config: Body, reason: str) -> None:
    written = [parameter("metadata.labels.x", value="y")]  # so that only an event shows it
    to = WorkflowBench.__new__(WorkflowBench)
    to.cluster = None  # type: ignore[assignment]  # nothing is sent
    with pytest.raises(ParameterError, match=reason):
        to.route({**config, "parameters": written}).request(event())


def test_what_it_needs_in_the_cluster() -> None:
    def needed(config: Body, *written: str) -> dict[str, tuple[str, ...]]:
        made = ArgoWorkflow.model_validate(config)
        rules = access.rules(made, set(written), "home")
        return {f"{rule.resource.resource} {rule.resource.namespace}".strip(): rule.verbs for rule in rules}

    assert needed(on("submit", GENERATED)) == {"workflows home": ("get", "create")}
    placed = {**workflow(), "metadata": {"name": "w", "namespace": "runs"}}
    assert needed(on("retry", placed)) == {"workflows runs": ("get", "update"), "pods runs": ("get", "delete")}
    cluster = needed(on("submit-from", template("ClusterWorkflowTemplate")))
    assert cluster == {"workflows home": ("get", "create"), "clusterworkflowtemplates": ("get",)}
    any_namespace = needed(on("stop"), "source.resource.metadata.namespace")
    assert any_namespace == {"workflows": ("get", "patch")}
    assert needed(on("stop"), "operation")["workflows home"] == ("get", "create", "patch", "update")
    assert needed(on("stop"), "source") == {}
