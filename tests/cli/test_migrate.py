"""docs/migrate.md, followed to the letter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.apiserver import LocalSimulator
from tests.cli.rig import Desk

PAGE = (Path(__file__).parents[2] / "docs" / "migrate.md").read_text()
ADDED = {"uid": "3f1c", "resourceVersion": "812", "generation": 2, "creationTimestamp": "2025-03-01T12:00:00Z"}
TEMPLATE = {"serviceAccountName": "operate-workflow", "container": {"resources": {"limits": {"memory": "64Mi"}}}}


def blocks(language: str) -> list[str]:
    """The code blocks of the page in a language."""
    found: list[tuple[str, str]] = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
    return [text for of, text in found if of == language]


def collected() -> str:
    """What `kubectl get -o yaml` prints of an EventSource and a Sensor of Argo Events."""
    manifests: list[dict[str, Any]] = [
        {
            "kind": "EventSource",
            "metadata": {"name": "builds"},
            "spec": {
                "template": TEMPLATE,
                "resource": {
                    "ended": {
                        "namespace": "default",
                        "group": "argoproj.io",
                        "version": "v1alpha1",
                        "resource": "workflows",
                        "eventTypes": ["ADD", "UPDATE"],
                        "filter": {"fields": [{"key": "status.phase", "operation": "==", "value": "Failed"}]},
                    }
                },
            },
        },
        {
            "kind": "Sensor",
            "metadata": {"name": "tell"},
            "spec": {
                "template": TEMPLATE,
                "dependencies": [{"name": "build", "eventSourceName": "builds", "eventName": "ended"}],
                "triggers": [{"template": {"name": "line", "atLeastOnce": True, "log": {}}}],
            },
        },
    ]
    for manifest in manifests:
        manifest["apiVersion"] = "argoproj.io/v1alpha1"
        manifest["metadata"] |= ADDED | {"namespace": "argo-events", "managedFields": [{"manager": "kubectl"}]}
        manifest["status"] = {"conditions": [{"type": "Deployed", "status": "True"}]}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": manifests, "metadata": {"resourceVersion": ""}})


async def test_a_folder_of_argo_events_runs_as_it_is_beside_a_bus(desk: Desk) -> None:
    for path in desk.manifests.iterdir():
        path.unlink()
    commands = "".join(blocks("sh"))
    assert "kubectl get eventsources,sensors -n argo-events -o yaml > argo/argo.yaml" in commands
    desk.write("argo.yaml", collected())
    desk.write("eventbus.yaml", blocks("yaml")[0])
    assert "kubecdc validate -f argo\n" in commands
    done = await desk.call("validate")
    assert (done.code, done.out) == (0, "valid: 1 EventSource, 1 Sensor, bus default\n")
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {}}
    assert "kubecdc try -f argo --event event.json\n" in commands
    ended = {"type": "UPDATE", "body": body | {"metadata": {"name": "bad"}, "status": {"phase": "Failed"}}}
    event = {"specversion": "1.0", "id": "1", "source": "builds", "subject": "ended", "type": "resource", "data": ended}
    (desk.folder / "event.json").write_bytes(msgspec.json.encode(event))
    tried = await desk.call("try", "--event", "event.json")
    assert tried.code == 0 and '"matched":true' in tried.out, tried.err
    assert "kubecdc rbac -f argo --namespace argo-events\n" in commands
    rights = await desk.call("rbac", "--namespace", "argo-events")
    assert rights.code == 0 and "workflows" in rights.out
    async with desk.running("run") as kubecdc:
        await kubecdc.until('"listed"')
        await create(desk.api, body | {"metadata": {"name": "good"}, "status": {"phase": "Succeeded"}})
        await create(desk.api, body | {"metadata": {"name": "bad"}, "status": {"phase": "Failed"}})
        await kubecdc.until('"name":"bad"', out=True)
    lines = [msgspec.json.decode(line, type=dict[str, Any]) for line in kubecdc.out.splitlines()]
    assert [line["event"] for line in lines] == ["workflows.argoproj.io/default/bad"]


async def create(api: LocalSimulator, body: dict[str, Any]) -> None:
    await api.create("argoproj.io", "v1alpha1", "workflows", "default", body)
