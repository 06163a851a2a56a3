"""Trigger types that other packages provide: in a process of its own, with entry points of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

TYPES = '''
from kubecdc.cluster.resource import Resource
from kubecdc.manifest.model import Model
from kubecdc.workers.outcome import Success
from kubecdc.workers.triggers.contract import AccessRule, TriggerType


class Config(Model):
    topic: str = ""


class Fake:
    def prepare(self, request): return request
    async def execute(self, request): return Success()
    def preview(self, request): return {"topic": request.config.topic}
    async def close(self): pass


class Good(TriggerType[Config]):
    model = Config
    example = "{topic: events}"
    policies = frozenset({"k8s"})
    fixed = {"topic": "make a trigger of each topic"}

    def rules(self, config, written, namespace):
        return [AccessRule(Resource("batch", "v1", "jobs", namespace="one"), ("get", "create"))]

    def build(self, config, policy, context):
        return Fake()


class Abstract(TriggerType[Config]):
    model = Config
    example = "{}"


class Built(Good):
    """A type with a fault of its own."""


class NoModel(Built):
    model = dict


class NoExample(Built):
    example = None


class Unfinished(Model):
    field: "NoSuchName" = None


class HalfModel(Built):
    model = Unfinished
'''
LOAD = """
import io, json, sys
from kubecdc.cli.manifests.loading import ManifestErrors, load
found = []
for text in json.load(sys.stdin):
    try:
        manifests = load(["-"], stdin=io.StringIO(text))
        template = next(iter(manifests.sensors.values())).spec.triggers[0].template
        found.append([template.type, *manifests.notices[1:]])
    except ManifestErrors as e:
        found.append([str(problem).rpartition("Sensor/s: ")[2] for problem in e.problems])
print(json.dumps(found))
"""


def provide(folder: Path, package: str, /, **types: str) -> None:
    """A package that provides types: field -> object."""
    info = folder / f"{package}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    points = "\n".join(f"{field} = {value}" for field, value in types.items())
    (info / "entry_points.txt").write_text(f"[kubecdc.triggers]\n{points}\n")


def sensor(template: str, **trigger: Any) -> str:
    made: Mapping[str, Any] = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": "s"},
        "spec": {
            "dependencies": [{"name": "dep", "eventSourceName": "a", "eventName": "b"}],
            "triggers": [{"template": {"name": "t", **json.loads(template)}, **trigger}],
        },
    }
    return json.dumps(made)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    (tmp_path / "some_types.py").write_text(TYPES)
    (tmp_path / "raises.py").write_text("raise RuntimeError('no client library')\n")
    return tmp_path


def loaded(folder: Path, *sensors: str) -> list[list[str]]:
    """For each Sensor the type of its trigger and the notices, or the problems."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=json.dumps(sensors),
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_a_package_may_provide_a_type_that_is_refused_without_it(packages: Path) -> None:
    pulsar = sensor('{"pulsar": {"topic": "x"}}')
    assert loaded(packages, pulsar) == [["spec.triggers[0].template.pulsar: trigger type `pulsar` is not supported"]]
    provide(packages, "one", pulsar="some_types:Good")
    *found, [none] = loaded(packages, pulsar, sensor('{"nats": {}}'), sensor("{}"))
    assert found == [["pulsar"], ["spec.triggers[0].template.nats: trigger type `nats` is not supported"]]
    assert none.startswith("spec.triggers[0].template: has no trigger type; add `log: {}` or `http: {url: …}` or ")
    assert "`pulsar: {topic: events}`" in none


def test_a_broken_type_is_refused_with_its_reason_and_harms_no_other(packages: Path) -> None:
    provide(packages, "one", good="some_types:Good", gone="no_such_module:X", other="raises:X", wrong="builtins:int")
    provide(packages, "two", abstract="some_types:Abstract", twice="some_types:Good", name="some_types:Good")
    provide(packages, "three", twice="some_types:Abstract")
    names = ("good", "gone", "other", "wrong", "abstract", "twice")
    found = loaded(packages, *(sensor(json.dumps({name: {}})) for name in names), sensor('{"log": null}'))
    assert (found[0], found[-1]) == (["good"], ["log"])
    for name, problems in zip(names[1:], found[1:-1], strict=True):
        [problem] = problems
        assert problem.startswith(f"spec.triggers[0].template.{name}: trigger type `{name}` cannot be loaded: "), (
            problem
        )
    reasons = [problems[0].partition("cannot be loaded: ")[2] for problems in found[1:-1]]
    assert "No module named 'no_such_module'" in reasons[0]
    assert "no client library" in reasons[1]
    assert "extends kubecdc.workers.triggers.contract.TriggerType" in reasons[2]
    assert "abstract" in reasons[3]
    assert "several packages" in reasons[4]


def test_a_type_whose_parts_are_wrong_harms_no_other(packages: Path) -> None:
    provide(packages, "one", model="some_types:NoModel", example="some_types:NoExample", half="some_types:HalfModel")
    provide(packages, "two", **{"name": "some_types:Good", "my-type": "some_types:Good", "json": "some_types:Good"})
    names = ("model", "example", "half", "my-type", "json", "log")
    *found, json_type, log = loaded(packages, *(sensor(json.dumps({name: {}})) for name in names))
    assert (json_type, log) == (["json"], ["log"]), "a type may have the name of an attribute of every model"
    reasons = [problems[0].partition("cannot be loaded: ")[2] for problems in found]
    assert reasons[0] == "its `model` does not extend kubecdc.manifest.model.Model"
    assert reasons[1] == "its `example` is not text"
    assert reasons[2].startswith("its `model` is not complete: ")
    assert reasons[3] == "a field of a template cannot have this name"


def test_the_type_decides_about_policies_and_fixed_fields(packages: Path) -> None:
    provide(packages, "one", good="some_types:Good")
    parameter = {"src": {"dependencyName": "dep"}, "dest": "good.topic"}
    assert loaded(
        packages,
        sensor('{"good": {}}', policy={"k8s": {"labels": {"a": "b"}}}),
        sensor('{"good": {}}', policy={"status": {"allow": [200]}}),
        sensor('{"good": {}}', parameters=[parameter]),
        sensor('{"good": {"topics": "x"}}'),
    ) == [
        ["good"],
        ["good", "standard input, document 1, Sensor/s: policy.status has no effect on a good trigger"],
        ["spec.triggers[0].parameters[0].dest: `topic` cannot depend on the event; make a trigger of each topic"],
        ["spec.triggers[0].template.good.topics: is not a field; did you mean `topic`?"],
    ]
