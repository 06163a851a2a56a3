"""`project`: what of an object goes into the queue."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from kubecdc.watcher.capture.projection import Projection
from kubecdc.watcher.manifest import Entry
from kubecdc.watcher.manifest import Projection as Manifest
from tests.watcher.rig import Rig, data, event_source

FIELDS, APPLIED = "metadata.managedFields", "metadata.annotations.kubectl\\.kubernetes\\.io/last-applied-configuration"
NOTED = "kubectl.kubernetes.io/last-applied-configuration"
METADATA = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7"}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {**METADATA, "managedFields": [{"manager": "kubectl"}], "labels": {"app": "x"}},
    "spec": {"containers": [{"name": "one", "env": [{"name": "A", "value": "s3cret"}]}, {"name": "two"}], "n": 1.50},
}


def projected(document: Any, **given: list[str]) -> Any:
    text = json.dumps(document).encode()
    projection = Projection(Manifest.model_validate(given))
    once = projection.of(text)
    assert projection.of(once) == once, "a body that the inventory keeps is projected again"
    return json.loads(once)


def without(document: dict[str, Any], *path: str) -> dict[str, Any]:
    name, *rest = path
    if rest:
        return {**document, name: without(document[name], *rest)}
    return {key: value for key, value in document.items() if key != name}


def test_what_is_dropped_is_gone_and_all_else_is_as_it_was() -> None:
    assert projected(POD, drop=[FIELDS, APPLIED]) == without(POD, "metadata", "managedFields")
    assert projected(POD, drop=["spec.containers.#.env", "status"])["spec"] == {
        "containers": [{"name": "one"}, {"name": "two"}],
        "n": 1.50,
    }
    assert projected(POD, drop=["spec.n.deeper", "kind.x", "spec.containers.name"]) == POD, "there is no such part"


def test_nothing_but_what_is_kept_and_what_tells_the_object_stays() -> None:
    assert projected(POD, keep=["metadata.labels.app", "spec.containers.#.name"]) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**METADATA, "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "one"}, {"name": "two"}]},
    }
    assert projected(POD, keep=["spec"], drop=["spec.containers"])["spec"] == {"n": 1.50}


def test_what_is_redacted_keeps_its_keys_and_no_value() -> None:
    secret = {
        "metadata": {
            **METADATA,
            "annotations": {NOTED: "s3cret", "a": "b"},
        },
        "data": {"password": "s3cret", "key": {"deep": "s3cret"}},
        "stringData": None,
        "list": ["s3cret"],
    }
    found = projected(secret, redact=["data", "stringData", "list"])
    assert found["data"] == {"password": "[redacted]", "key": "[redacted]"}
    assert (found["stringData"], found["list"]) == (None, "[redacted]")
    assert found["metadata"] == {**METADATA, "annotations": {"a": "b"}}, "what kubectl has applied has the values too"
    assert "s3cret" not in json.dumps(projected(POD, redact=["spec.containers.#.env.#.value"]))
    assert "s3cret" not in json.dumps(projected(secret, redact=["data", "list"], drop=["data.password"]))


NAMES = st.sampled_from(["a", "b", "c"])
DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(NAMES, some, max_size=3),
    max_leaves=20,
)


@given(document=st.dictionaries(NAMES, DOCUMENTS), path=st.lists(NAMES, min_size=1, max_size=3))
def test_every_way_to_a_part_is_followed(document: dict[str, Any], path: list[str]) -> None:
    dropped = projected(document, drop=[".".join(path)])
    kept = projected(document, keep=[".".join(path)])
    there = True
    value: Any = document
    for name in path:
        there = there and isinstance(value, dict) and name in value
        value = value[name] if there else None
    assert dropped == (without(document, *path) if there else document)
    if there:
        found = kept
        for name in path:
            found = found[name]
        assert found == value


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"project": {}}, "is empty"),
        ({"project": {"drop": ["metadata"]}}, "identifies the object"),
        ({"project": {"redact": ["metadata.name"]}}, "identifies the object"),
        ({"project": {"drop": ["spec.*.x"]}}, "may have only names"),
        ({"project": {"drop": ["spec|x"]}}, "may have only names"),
        ({"project": {"drop": ["spec.#"]}}, "may have only names"),
        ({"project": {"drops": ["spec"]}}, "drops"),
    ],
)
def test_what_cannot_be_meant_is_refused(entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Entry.model_validate({"version": "v1", "resource": "pods", "eventTypes": ["ADD"], **entry})


@pytest.mark.parametrize(
    ("key", "project", "taken"),
    [
        ("spec.n", {"drop": ["spec"]}, True),
        ("spec", {"redact": ["spec.n"]}, True),
        ("spec.n", {"keep": ["status"]}, True),
        ("spec.n", {"keep": ["spec"]}, False),
        ("metadata.name", {"keep": ["spec"]}, False),
        ("spec.n", {"drop": ["spec.m"]}, False),
    ],
)
def test_a_filter_that_would_look_at_a_stored_body_without_its_field_is_refused(
    key: str, project: dict[str, list[str]], taken: bool
) -> None:
    fields = [{"key": key, "value": "x"}]
    made = {
        "version": "v1",
        "resource": "pods",
        "eventTypes": ["ADD"],
        "project": project,
        "filter": {"fields": fields},
    }
    Entry.model_validate(made)
    if taken:
        with pytest.raises(ValidationError, match=f"`project` removes {key}"):
            Entry.model_validate({**made, "inventory": "objects"})
    else:
        Entry.model_validate({**made, "inventory": "objects"})


def everything(path: Path) -> str:
    """All that the folder of a bus has: events, inventory, dead letters, the log of SQLite."""
    # Not by Python's own SQLite: closing it would drop the locks that the bus's has on the file in this process.
    with closing(apsw.Connection(str(path))) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        dump = "\n".join(str(found) for table in tables for found in db.execute(f'SELECT * FROM "{table}"'))
    files = b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))
    return dump + files.decode("latin-1")


@pytest.mark.parametrize("inventory", ["versions", "objects"])
async def test_a_redacted_value_is_stored_nowhere(bench: Rig, inventory: str) -> None:
    source = event_source(
        inventory=inventory,
        project={"redact": ["spec.data"], "drop": [FIELDS]},
        filter={"fields": [{"key": "spec.on", "value": "true"}]},
    )
    await bench.create("a", on=True, data={"password": "s3cret-0"})
    with capture_logs() as lines:
        await bench.start(source)
        await bench.watching()
        await bench.update("a", {"spec": {"data": {"password": "s3cret-1"}}})
        await bench.update("a", {"spec": {"data": {"password": "s3cret-2", "token": "s3cret-3"}}})
        events = [data(e) for e in await bench.events(on=True)]
        await bench.kill()
        await bench.update("a", {"spec": {"data": {"password": "s3cret-4"}}})
        await bench.api.expire_history()
        await bench.start(source)
        events += [data(e) for e in await bench.events(on=True)]
        await bench.update("a", {"spec": {"on": False}})
        await bench.delete("a")
        events += [data(e) for e in await bench.events(on=True)]
    assert [e["body"]["spec"]["data"] for e in events][:2] == [{"password": "[redacted]"}] * 2
    assert events[2]["body"]["spec"]["data"] == {"password": "[redacted]", "token": "[redacted]"}
    if inventory == "objects":
        assert events[1]["oldBody"]["spec"]["data"] == {"password": "[redacted]"}
        assert [e["type"] for e in events] == ["ADD", "UPDATE", "UPDATE", "UPDATE", "DELETE"]
    stored = everything(bench.path)
    assert "[redacted]" in stored, "bodies can be searched"
    assert "s3cret" not in stored + str(lines) + str(events)
