"""suspend, resume, stop and terminate: what is changed, and that a repeated event changes nothing again."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kubecdc.workers.outcome import Failure, Retry, Success
from kubecdc.workers.triggers.argo_workflow.names import CHANGES
from tests.apiserver import LocalSimulator, RealApiServer, require_assets
from tests.apiserver.client import WORKFLOWS
from tests.harness.proxy import Proxy
from tests.workers.argo_workflow.rig import Body, W, WorkflowBench, bench, create, get, on, workflow
from tests.workers.support import event

WAITING: Body = {"id": "w-2", "name": "w.wait", "type": "Suspend", "phase": "Running"}
OTHER: Body = {"id": "w", "name": "w", "type": "Steps", "phase": "Running", "children": ["w-2"]}


async def patched(api: LocalSimulator, patch: Body) -> None:
    await api.patch(*WORKFLOWS, "default", "w", patch)


def compressed(nodes: Body) -> str:
    return base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()


@pytest.mark.parametrize(
    ("operation", "spec"),
    [
        ("suspend", {"suspend": True}),
        ("stop", {"shutdown": "Stop"}),
        ("terminate", {"shutdown": "Terminate"}),
        ("resume", {}),
    ],
)
async def test_a_change_is_made_once_for_an_event(
    api: LocalSimulator, it: WorkflowBench, operation: str, spec: Body
) -> None:
    before: Body = {"suspend": True} if operation == "resume" else {}
    await create(api, workflow(entrypoint="main", **before))
    await it.done(on(operation))
    found = await get(api)
    assert found["spec"] == {"entrypoint": "main", **spec}
    assert len(found["metadata"]["annotations"][CHANGES].split()) == 1
    undone = {"suspend": before.get("suspend"), "shutdown": None}
    await patched(api, {"spec": undone})
    await it.done(on(operation))
    assert (await get(api))["spec"] == {"entrypoint": "main", **before}, "somebody took it back since"
    await it.done(on(operation), event(2))
    assert (await get(api))["spec"] == {"entrypoint": "main", **spec}


@pytest.mark.parametrize(
    ("operation", "spec"), [("suspend", {"suspend": True}), ("stop", {"shutdown": "Terminate"}), ("resume", {})]
)
async def test_what_is_so_already_is_a_success_without_a_write(
    api: LocalSimulator, it: WorkflowBench, operation: str, spec: Body
) -> None:
    before = await create(api, workflow(**spec))
    await it.done(on(operation))
    assert (await get(api))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ("suspend", "suspend Workflow default/w: cannot suspend completed workflows"),
        ("stop", "stop Workflow default/w: cannot shutdown a completed workflow"),
        ("terminate", "terminate Workflow default/w: cannot shutdown a completed workflow"),
    ],
)
async def test_a_completed_workflow_is_a_failure(
    api: LocalSimulator, it: WorkflowBench, operation: str, reason: str
) -> None:
    await create(api, workflow(labels={f"{W}completed": "true"}, status={"phase": "Succeeded"}))
    assert await it.run(on(operation)) == Failure(reason)


async def test_a_workflow_that_was_stopped_and_has_ended_is_a_success(api: LocalSimulator, it: WorkflowBench) -> None:
    await create(api, workflow(status={"phase": "Failed"}, shutdown="Stop"))
    await it.done(on("stop"))


async def test_a_missing_workflow_is_retried(it: WorkflowBench) -> None:
    outcome = await it.run(on("stop"))
    assert isinstance(outcome, Retry)
    assert 'stop Workflow default/w: 404 workflows.argoproj.io "w" not found' in outcome.reason


async def test_the_workflow_of_another_controller_is_left_alone(api: LocalSimulator, it: WorkflowBench) -> None:
    await create(api, workflow(labels={f"{W}controller-instanceid": "theirs"}))
    outcome = await it.run(on("stop"))
    assert isinstance(outcome, Failure)
    assert outcome.reason.endswith("it belongs to the controller theirs: name that with --instanceid")
    await it.done(on("stop", None, "--instanceid", "theirs"))


@pytest.mark.parametrize("packed", [False, True])
async def test_resume_ends_suspend_nodes_with_the_defaults_of_their_outputs(
    api: LocalSimulator, it: WorkflowBench, packed: bool
) -> None:
    supplied = {"name": "a", "valueFrom": {"supplied": {}, "default": "d"}}
    set_already = {"name": "b", "value": "v"}
    waiting = {**WAITING, "outputs": {"parameters": [supplied, set_already]}}
    nodes = {"w": OTHER, "w-2": waiting}
    status = {"phase": "Running", **({"compressedNodes": compressed(nodes)} if packed else {"nodes": nodes})}
    await create(api, workflow(status=status, suspend=True, entrypoint="main"))
    await it.done(on("resume"))
    found = await get(api)
    assert found["spec"] == {"entrypoint": "main"}
    status = found["status"]
    assert ("nodes" in status, "compressedNodes" in status) == (not packed, packed), "one form, that which it had"
    if packed:
        status["nodes"] = json.loads(gzip.decompress(base64.b64decode(status["compressedNodes"])))
    ended = status["nodes"]["w-2"]
    assert (ended["phase"], ended["finishedAt"][-1]) == ("Succeeded", "Z")
    assert ended["outputs"]["parameters"] == [{"name": "a", "value": "d"}, set_already]
    assert status["nodes"]["w"] == OTHER


async def test_a_repeated_resume_does_not_wake_a_later_node(api: LocalSimulator, it: WorkflowBench) -> None:
    await create(api, workflow(status={"phase": "Running", "nodes": {"w": OTHER, "w-2": WAITING}}))
    await it.done(on("resume"))
    later = {**WAITING, "id": "w-3", "name": "w.later"}
    await patched(api, {"status": {"nodes": {"w-3": later}}})
    await it.done(on("resume"))
    assert (await get(api))["status"]["nodes"]["w-3"] == later


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"nodes": {"w-2": {**WAITING, "outputs": {"parameters": [{"name": "a", "valueFrom": {"supplied": {}}}]}}}},
            "raw output parameter 'a' has not been set and does not have a default value",
        ),
        ({"offloadNodeStatusVersion": "1"}, "its nodes are in the database of Argo Workflows"),
        ({"compressedNodes": "KLUv/Q=="}, "its nodes are compressed, but not with gzip"),
        ({"compressedNodes": "?"}, "its compressed nodes cannot be read"),
        ({"compressedNodes": base64.b64encode(gzip.compress(b"{}")[:-9]).decode()}, "its nodes are cut off"),
        ({"nodes": {"w-2": 1}}, "its nodes are not a mapping of nodes"),
    ],
)
async def test_nodes_that_cannot_be_resumed_are_a_failure(
    api: LocalSimulator, it: WorkflowBench, status: Body, reason: str
) -> None:
    await create(api, workflow(status=status))
    outcome = await it.run(on("resume"))
    assert isinstance(outcome, Failure)
    assert reason in outcome.reason


async def test_a_suspended_workflow_is_resumed_though_its_nodes_are_elsewhere(
    api: LocalSimulator, it: WorkflowBench
) -> None:
    await create(api, workflow(status={"offloadNodeStatusVersion": "1"}, suspend=True))
    await it.done(on("resume"))
    assert (await get(api))["spec"] == {}


async def test_a_change_that_meets_the_controller_begins_anew(
    api: LocalSimulator, it: WorkflowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(api, workflow(status={"nodes": {"w": OTHER, "w-2": WAITING}}))
    objects, times = await it.cluster.objects(), 0
    replace = objects.replace

    async def beaten(*given: Any) -> Body:
        nonlocal times
        times += 1
        if times <= 2:
            await patched(api, {"status": {f"other{times}": "x"}})
        return await replace(*given)

    monkeypatch.setattr(objects, "replace", beaten)
    await it.done(on("resume"))
    found = (await get(api))["status"]
    assert (found["other1"], found["other2"], found["nodes"]["w-2"]["phase"]) == ("x", "x", "Succeeded")


async def test_a_lost_reply_changes_once(api: LocalSimulator, tmp_path: Path) -> None:
    await create(api, workflow())
    async with Proxy(api.simulator.port) as proxy:
        kubeconfig = api.kubeconfig(tmp_path / "kubeconfig")
        kubeconfig.write_text(kubeconfig.read_text().replace(f":{api.simulator.port}", f":{proxy.port}"))
        async with bench(kubeconfig) as it:
            await it.done(on("suspend"), event(7))
            await patched(api, {"spec": {"suspend": None}})
            proxy.drop_reply(b"PATCH")
            assert isinstance(await it.run(on("suspend")), Retry)
            assert (await get(api))["spec"] == {"suspend": True}, "the request has arrived"
            await patched(api, {"spec": {"suspend": None}})
            assert await it.run(on("suspend")) == Success()
    assert (await get(api))["spec"] == {}


@pytest.mark.long
async def test_the_same_on_a_real_server(tmp_path: Path) -> None:
    require_assets()
    real = RealApiServer(tmp_path / "real")
    await real.start()
    try:
        async with bench(real.kubeconfig(tmp_path / "kubeconfig")) as it:
            for number in (1, 2, 1):
                await it.done(on("submit", workflow() | {"metadata": {"generateName": "w-"}}), event(number))
            assert len((await real.list(*WORKFLOWS, "default"))["items"]) == 2
            nodes = {"w": OTHER, "w-2": WAITING}
            await create(real, workflow(status={"phase": "Running", "nodes": nodes}))
            for number, operation in enumerate(("suspend", "resume", "stop"), 3):
                for _ in range(2):
                    await it.done(on(operation), event(number))
            found = await get(real)
            assert found["spec"]["shutdown"] == "Stop"
            assert found["status"]["nodes"]["w-2"]["phase"] == "Succeeded"
    finally:
        await real.stop()
