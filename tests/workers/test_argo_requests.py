"""What a trigger asks for is what Argo Events would ask for.

The data are what the functions of argo-events 6478ece (ApplyTemplateParameters, ApplyResourceParameters,
ConstructPayload, ResolveParamValue) gave for the same manifests and event. null: it fails there.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubecdc.cli.manifests.loading import ManifestErrors, load
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts.event import Event
from kubecdc.workers.route import routes
from kubecdc.workers.sensor.parameters import ParameterError
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.triggers.contract import json_line

Body = dict[str, Any]
DATA: Body = json.loads((Path(__file__).parents[1] / "data" / "argo" / "requests.json").read_text())
URL = "http://x/a"
OURS = {"partitionkey": "", "sequence": "", "epoch": 0}  # attributes that Argo's events do not have
# What is different on purpose: docs/argo-compatibility.md has the reasons.
DIFFERENT: dict[str, Any] = {
    "payload append": {"a": "xADD"},
    "time 2026-01-05T10:00:00.123456Z": dict.fromkeys("vw", "2026-01-05T10:00:00.123456Z"),
    "time 2026-01-05T10:00:00.120+02:00": dict.fromkeys("vw", "2026-01-05T10:00:00.120+02:00"),
    "time 2026-01-05T23:59:59.999999999-05:00": dict.fromkeys("vw", "2026-01-05T23:59:59.999999999-05:00"),
}


def event(given: Body) -> Event:
    return Event.decode(json.dumps({**OURS, **given}).encode())


def asked(case: Body) -> Body:
    """What our trigger asks for."""
    subjects = {"d": "n", "f": "m"}
    names = case.get("dependencies", ["d"])
    manifest = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "s", "namespace": "ns"},
        "spec": {
            "dependencies": [{"name": n, "eventSourceName": "s", "eventName": subjects[n]} for n in names],
            "triggers": [
                case.get("trigger") or {"template": {"name": "t", "http": {"url": URL, "payload": case["payload"]}}}
            ],
        },
    }
    sensor = load(["-"], stdin=io.StringIO(json.dumps(manifest))).sensors["s"]
    route = next(routes(sensor, concurrency=1, render=json_line, mounts=Mounts()))
    values = route.values(event({**DATA["event"], **({"time": case["time"]} if "time" in case else {})}))
    if case.get("with"):
        values.others = {"f": Values(event(DATA["other"]), "f")}
    shown: Body = json.loads(msgspec.json.encode(route.trigger.preview(route.request(values.event, values))))
    return shown


def plain(value: Any) -> Any:
    """A value in which texts of JSON are decoded: whitespace and the notation of numbers mean nothing there."""
    if isinstance(value, dict):
        decoded = {k: plain(v) for k, v in value.items()}
        if decoded.keys() == {"context", "data"}:  # a whole event
            decoded["context"] = {k: v for k, v in decoded["context"].items() if k not in OURS}
            decoded["data"] = json.loads(base64.b64decode(decoded["data"]))
        return decoded
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return plain(json.loads(value))
        except ValueError:
            return value
    return value


def bare(manifest: Body) -> Body:
    """An object without the marks that we or Argo add, and without the name that we make of a ``generateName``."""
    made = plain(manifest)
    metadata = made["metadata"]
    for field, ours in (("labels", "events.argoproj.io/"), ("annotations", "kubecdc.io/")):
        metadata[field] = {k: v for k, v in metadata.get(field, {}).items() if not k.startswith(ours)}
    if "generateName" in metadata and "name" in metadata:
        del metadata["generateName"]  # has no effect
    return {**made, "metadata": {k: v for k, v in metadata.items() if v}}


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda case: case["case"])
def test_a_trigger_asks_for_what_argo_would_ask_for(case: Body) -> None:
    expected = case["argo"]
    if expected is None:
        with pytest.raises((ParameterError, ManifestErrors)):
            asked(case)
        return
    shown = asked(case)
    if "payload" in case:
        assert plain(shown["body"]) == DIFFERENT.get(case["case"], plain(expected))
        return
    if "object" not in expected:
        assert shown["url"] == expected["url"]
        assert plain(shown["body"]) == plain(expected["body"])
        headers = {name.lower(): value for name, value in shown["headers"].items()}
        assert headers | {name.lower(): value for name, value in expected.get("headers", {}).items()} == headers
        return
    assert shown["operation"] == expected["operation"]
    mine, argos = bare(shown["object"]), bare(expected["object"])
    if prefix := argos["metadata"].pop("generateName", ""):
        assert mine["metadata"].pop("name").startswith(prefix)
    assert shown["namespace"] == argos["metadata"].get("namespace", "ns")
    if case["case"] == "object whole":
        argos["spec"]["body"]["big"] = DATA["event"]["data"]["body"]["big"]  # which Argo rounds
    assert mine == argos
