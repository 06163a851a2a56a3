"""retry: which nodes and pods go, which run again, and that a repeated event retries nothing again."""

from __future__ import annotations

from typing import Any

import pytest

from kubecdc.workers.outcome import Failure, Retry
from kubecdc.workers.triggers.argo_workflow.changes import Refused
from kubecdc.workers.triggers.argo_workflow.names import CHANGES
from kubecdc.workers.triggers.argo_workflow.pod_names import fnv32a, pod_name
from kubecdc.workers.triggers.argo_workflow.retrying import Tree
from tests.apiserver import LocalSimulator
from tests.apiserver.client import WORKFLOWS
from tests.workers.argo_workflow.rig import Body, W, WorkflowBench, create, get, on, workflow
from tests.workers.support import event

PODS = ("", "v1", "pods")


def nodes(*given: tuple[str, str, str, str, str], **more: Body) -> Body:
    """Nodes: name, type, phase, names of the children, name of the boundary. Their ids are their names."""
    return {
        name: {
            "id": name,
            "name": name,
            "type": kind,
            "phase": phase,
            "templateName": "t",
            "message": "m",
            "startedAt": "old",
            "finishedAt": "old",
            **({"children": children.split()} if children else {}),
            **({"boundaryID": boundary} if boundary else {}),
            **more.get(name, {}),
        }
        for name, kind, phase, children, boundary in given
    }


STEPS = nodes(
    ("w", "Steps", "Failed", "g0", ""),
    ("g0", "StepGroup", "Succeeded", "a", "w"),
    ("a", "Pod", "Succeeded", "g1", "w"),
    ("g1", "StepGroup", "Failed", "b c", "w"),
    ("b", "Pod", "Failed", "", "w"),
    ("c", "Pod", "Succeeded", "", "w"),
    ("w.onExit", "Pod", "Succeeded", "", ""),
)
RETRIED = {"nodeFlag": {"retried": True}}


def failed(found: Body, **more: Any) -> Body:
    conditions = [{"type": "Completed", "status": "True"}, {"type": "PodRunning", "status": "False"}]
    status: Body = {
        "phase": "Failed",
        "message": "m",
        "startedAt": "old",
        "finishedAt": "old",
        "conditions": conditions,
    }
    stored = {"entrypoint": "main", "shutdown": "Stop"}
    status |= {
        "conditions": conditions,
        "nodes": found,
        "persistentVolumeClaims": [{"name": "v"}],
        "storedWorkflowTemplateSpec": stored,
    }
    labels = {f"{W}phase": "Failed", f"{W}completed": "true", f"{W}workflow-archiving-status": "Archived"}
    return workflow(labels=labels, status=status, shutdown="Stop", activeDeadlineSeconds=0, **more)


async def pods(api: LocalSimulator) -> set[str]:
    return {pod["metadata"]["name"] for pod in (await api.list(*PODS, "default"))["items"]}


async def make_pod(api: LocalSimulator, name: str) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await api.create(*PODS, "default", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def name_of(node: str) -> str:
    return f"w-t-{fnv32a(node)}"


@pytest.mark.parametrize(
    ("what", "found", "removed", "reset"),
    [
        ("a step", STEPS, "b", "g1 w"),
        ("the only pod", nodes(("w", "Pod", "Failed", "", "")), "w", ""),
        (
            "a task of a DAG and what depends on it",
            nodes(
                ("w", "DAG", "Failed", "a b", ""),
                ("a", "Pod", "Failed", "c", "w"),
                ("b", "Pod", "Succeeded", "", "w"),
                ("c", "Pod", "Omitted", "", "w"),
            ),
            "a c",
            "w",
        ),
        (
            "all attempts of a Retry",
            nodes(
                ("w", "DAG", "Failed", "r", ""),
                ("r", "Retry", "Failed", "r0 r1", "w"),
                ("r0", "Pod", "Failed", "", "w"),
                ("r1", "Pod", "Failed", "", "w"),
                r0=RETRIED,
                r1=RETRIED,
            ),
            "r0 r1",
            "r w",
        ),
        (
            "no attempt whose Retry succeeded",
            nodes(
                ("w", "DAG", "Failed", "r x", ""),
                ("r", "Retry", "Succeeded", "r0 r1", "w"),
                ("r0", "Pod", "Failed", "", "w"),
                ("r1", "Pod", "Succeeded", "", "w"),
                ("x", "Pod", "Error", "", "w"),
                r0=RETRIED,
                r1=RETRIED,
            ),
            "x",
            "w",
        ),
        (
            "the pod of a container",
            nodes(
                ("w", "DAG", "Failed", "p", ""),
                ("p", "Pod", "Failed", "c1", "w"),
                ("c1", "Container", "Succeeded", "c2", "p"),
                ("c2", "Container", "Failed", "", "p"),
            ),
            "p c1 c2",
            "w",
        ),
        (
            "a step of a DAG in a Retry in steps",
            nodes(
                ("w", "Steps", "Failed", "g", ""),
                ("g", "StepGroup", "Failed", "r", "w"),
                ("r", "Retry", "Failed", "d", "w"),
                ("d", "DAG", "Failed", "a b", "w"),
                ("a", "Pod", "Succeeded", "", "d"),
                ("b", "HTTP", "Error", "", "d"),
            ),
            "b",
            "d r g w",
        ),
    ],
)
def test_what_is_removed_and_what_runs_again(what: str, found: Body, removed: str, reset: str) -> None:
    assert Tree(found, "w").plan(regroup=False) == (set(removed.split()), set(reset.split())), what


def test_with_parameters_groups_that_run_again_lose_their_members() -> None:
    assert Tree(STEPS, "w").plan(regroup=True) == ({"b", "c"}, {"g1", "w"})


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (nodes(("w", "DAG", "Failed", "", ""), ("x", "Pod", "Failed", "", "w")), "couldn't find parent node for x"),
        (nodes(("w", "DAG", "Failed", "x", "")), "couldn't find node x"),
        ({}, "couldn't find the root node"),
        (nodes(("w", "DAG", "Failed", "g", ""), ("g", "DAG", "Failed", "x", "g"), ("x", "Pod", "Failed", "", "g")),
         "its nodes contain each other"),
        (nodes(("w", "DAG", "Failed", "x", ""), ("x", "Container", "Failed", "", "w")), "couldn't find what contains"),
    ],
)  # fmt: skip
def test_broken_nodes_are_refused(found: Body, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        Tree(found, "w").plan(regroup=False)


def test_names_of_pods() -> None:
    assert (fnv32a("a"), fnv32a("foobar")) == (0xE40C292C, 0xBF9CF968)  # the vectors of its authors
    made = workflow()
    assert pod_name(made, {"id": "w", "name": "w", "templateName": "t"}) == "w"
    assert pod_name(made, {"id": "w-1", "name": "w.a", "templateName": "t"}) == f"w-t-{fnv32a('w.a')}"
    reference = {"id": "w-1", "name": "w.a", "templateName": "t", "templateRef": {"template": "x" * 300}}
    assert pod_name(made, reference) == f"w-{'x' * 240}-{fnv32a('w.a')}"
    made["metadata"]["annotations"] = {f"{W}pod-name-format": "v1"}
    assert pod_name(made, {"id": "w-1", "name": "w.a", "templateName": "t"}) == "w-1"


async def test_what_failed_runs_again_and_its_pods_go(api: LocalSimulator, it: WorkflowBench) -> None:
    arguments = {"parameters": [{"name": "a", "value": "1"}]}
    await create(api, failed(STEPS, entrypoint="main", arguments=arguments))
    for node in ("a", "b", "c", "w.onExit"):
        await make_pod(api, name_of(node))
    await it.done(on("retry"))
    assert await pods(api) == {name_of("a"), name_of("c")}
    found = await get(api)
    assert found["metadata"]["labels"] == {f"{W}phase": "Failed"}, "the controller changes it"
    assert found["spec"] == {"entrypoint": "main", "arguments": arguments}
    status = found["status"]
    assert status.keys() == {"nodes", "conditions", "startedAt", "storedWorkflowTemplateSpec"}
    assert status["storedWorkflowTemplateSpec"] == {"entrypoint": "main"}
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"Completed": "False", "PodRunning": "False"}
    assert set(status["nodes"]) == {"w", "g0", "a", "g1", "c"}
    again = status["nodes"]["g1"]
    assert again.pop("startedAt").endswith("Z")
    expected = {"id": "g1", "name": "g1", "type": "StepGroup", "phase": "Running", "templateName": "t"}
    assert again == {**expected, "children": ["c"], "boundaryID": "w"}
    assert status["nodes"]["a"] == STEPS["a"]


async def test_a_repeated_event_retries_once_and_another_event_again(api: LocalSimulator, it: WorkflowBench) -> None:
    await create(api, failed(STEPS))
    await it.done(on("retry", None, "-p", "a=2"))
    once = await get(api)
    parameters = {"parameters": [{"name": "a", "value": "2"}]}
    assert once["spec"]["arguments"] == once["status"]["storedWorkflowTemplateSpec"]["arguments"] == parameters
    again = {"status": {"phase": "Failed", "nodes": STEPS}}
    await api.patch(*WORKFLOWS, "default", "w", again)
    await make_pod(api, name_of("b"))
    await it.done(on("retry"))
    assert (await get(api))["status"]["phase"] == "Failed"
    assert await pods(api) == {name_of("b")}
    await it.done(on("retry"), event(2))
    assert "phase" not in (await get(api))["status"]
    assert await pods(api) == set()


async def test_the_new_pods_of_another_worker_stay(
    api: LocalSimulator, it: WorkflowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers have the event. The other retries, and the controller makes a pod, when this one has seen the old."""
    await create(api, failed(STEPS))
    await make_pod(api, name_of("b"))
    objects = await it.cluster.objects()
    get_object, seen = objects.get, 0

    async def overtaken(resource: Any, name: str) -> Body:
        nonlocal seen
        seen += resource.resource == "workflows"
        if seen == 2:
            seen += 1
            monkeypatch.setattr(objects, "get", get_object)
            await it.done(on("retry"))
            await make_pod(api, name_of("b"))
        return await get_object(resource, name)

    monkeypatch.setattr(objects, "get", overtaken)
    await it.done(on("retry"))
    assert seen == 3
    assert await pods(api) == {name_of("b")}
    assert len((await get(api))["metadata"]["annotations"][CHANGES].split()) == 1


async def test_pods_that_cannot_be_deleted_leave_the_workflow_as_it_is(api: LocalSimulator, it: WorkflowBench) -> None:
    await create(api, failed(STEPS))
    await make_pod(api, name_of("b"))
    api.faults.fail(503, method="DELETE")
    assert isinstance(await it.run(on("retry")), Retry)
    assert (await get(api))["status"]["phase"] == "Failed"
    api.faults.clear()
    await it.done(on("retry"))
    assert await pods(api) == set()


@pytest.mark.parametrize(
    ("phase", "reason"),
    [("Running", "phase Running"), ("Succeeded", "phase Succeeded"), ("", "phase Unknown")],
)
async def test_only_a_failed_workflow_is_retried(
    api: LocalSimulator, it: WorkflowBench, phase: str, reason: str
) -> None:
    await create(api, workflow(status={"phase": phase, "nodes": {}}))
    assert await it.run(on("retry")) == Failure(f"retry Workflow default/w: cannot retry a workflow in {reason}")
