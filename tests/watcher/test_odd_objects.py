"""One odd object, as aggregated API servers may have it: said once and left out, or handled; the rest goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from kubecdc.cluster.connection import Cluster
from tests.apiserver.changes import Change
from tests.exported import REGISTRY
from tests.watcher.rig import KEY, Rig, event_source, told

pytestmark = pytest.mark.usefixtures("quick")
START = b'{"type":"MODIFIED","object":{"apiVersion":"argoproj.io/v1alpha1","kind":"Workflow","metadata":'
LINES = {
    "no uid": START + b'{"name":"odd","namespace":"default","resourceVersion":"1"}}}',
    "no name": START + b'{"uid":"odd","namespace":"default","resourceVersion":"1"}}}',
    "no version": START + b'{"name":"odd","uid":"odd","namespace":"default"}}}',
    "a version from which every object would come again": START
    + b'{"name":"odd","uid":"odd","namespace":"default","resourceVersion":"0"}}}',
    "wrong types": START + b'{"name":["odd"],"uid":7,"namespace":{},"resourceVersion":1}}}',
    "no metadata": START + b"null}}",
    "null": b'{"type":"MODIFIED","object":null}',
    "nothing": b'{"type":"DELETED"}',
    "nested too deep": START + b'{"name":"odd"},"spec":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001 + b"}",
    "no valid JSON": START + b'{"name":"odd","uid":"odd","namespace":"default"},"spec":{"text":"\\ud800","n":NaN}}}',
    "a name that is not UTF-8": START + b'{"name":"\xff","uid":"odd","namespace":"default"}}}',
    "a type that is new": b'{"type":"RENAMED","object":{"metadata":{"name":"odd","uid":"odd","resourceVersion":"1"}}}',
    "a bookmark of nothing": b'{"type":"BOOKMARK","object":{"metadata":{}}}',
}


def left_out() -> float:
    return REGISTRY.get_sample_value("kubecdc_left_out_objects_total", {"watch": KEY}) or 0.0


@pytest.mark.parametrize("kind", LINES)
async def test_an_odd_object_of_a_watch_is_said_once_and_left_out(
    bench: Rig, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await bench.start()
    await bench.watching()
    await bench.create("a")
    before = left_out()
    for _ in range(3):
        bench.api.inject(LINES[kind])
        await bench.update("a", {"metadata": {"labels": {"n": str(left_out())}}})
    await bench.create("b")
    assert told(await bench.events()) == ["ADD a", *["UPDATE a"] * 3, "ADD b"]
    assert left_out() == before + 3
    assert capsys.readouterr().out.count("is left out") == 1
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"ADDED","object":{"apiVersion":"v1","data":{"a":"s3cret","b": "s3cret \\" s3cret"},"kind":"Secret"}}',
        b'{"type":"ADDED","object":{"data":{"a":"' + b"s3cret" * 1000 + b'"}}}',
    ],
)
async def test_the_text_of_an_odd_object_is_not_told(
    bench: Rig, line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    await bench.start()
    await bench.watching()
    bench.api.inject(line)
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]
    said = capsys.readouterr().out
    assert "is left out" in said
    assert '"a":"..."' in said
    assert "s3cret" not in said


async def test_a_body_that_cannot_be_decoded_does_not_pass_a_filter_of_fields(bench: Rig) -> None:
    await bench.start(event_source(filter={"fields": [{"key": "spec.n", "operation": "==", "value": "1"}]}))
    await bench.watching()
    metadata = b'{"name":"odd","uid":"odd","namespace":"default","resourceVersion":"1"}'
    bench.api.inject(START + metadata + b',"spec":{"n":1e999}}}')
    await bench.create("a", n=1)
    assert told(await bench.events(n=1)) == ["ADD a"]


@pytest.fixture
def odd_in_lists(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What lists say of the metadata of objects, by name; None: nothing."""
    odd: dict[str, Any] = {}
    get = Cluster.get

    async def patched(self: Cluster, path: str, query: Mapping[str, str] | None = None, **more: Any) -> bytes:
        text = await get(self, path, query, **more)
        if not path.endswith("/workflows"):
            return text
        document = msgspec.json.decode(text)
        for item in document["items"]:
            for field, value in odd.get(item["metadata"]["name"], {}).items():
                item["metadata"][field] = value
        return msgspec.json.encode(document)

    monkeypatch.setattr(Cluster, "get", patched)
    return odd


@pytest.mark.parametrize(
    "oddity", [{"uid": ""}, {"uid": None}, {"uid": 7}, {"resourceVersion": ""}, {"resourceVersion": "0"}, {"name": ""}]
)
async def test_an_odd_object_of_a_list_is_said_once_and_left_out(
    bench: Rig, odd_in_lists: dict[str, Any], oddity: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abcd":
        await bench.create(name)
    odd_in_lists.update(b=oddity, c=oddity)
    await bench.start()
    assert told(await bench.events()) == ["ADD a", "ADD d"]
    assert capsys.readouterr().out.count("is left out") == 1


async def test_an_object_that_lost_its_uid_has_not_ended(bench: Rig, odd_in_lists: dict[str, Any]) -> None:
    for name in "abc":
        await bench.create(name)
    await bench.start()
    assert told(await bench.events()) == ["ADD a", "ADD b", "ADD c"]
    await bench.kill()
    odd_in_lists["b"] = {"uid": ""}
    await bench.delete("c")
    await bench.api.expire_history()
    await bench.start()
    await bench.watching()
    assert told(await bench.events()) == ["~DELETE c"]


async def test_an_object_that_left_the_selection_and_cannot_be_read_looks_deleted(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Cluster.get

    async def patched(self: Cluster, path: str, query: Mapping[str, str] | None = None, **more: Any) -> bytes:
        return b'{"metadata":{"uid":7}}' if path.endswith("/workflows/a") else await get(self, path, query, **more)

    monkeypatch.setattr(Cluster, "get", patched)
    await bench.start(event_source(filter={"labels": [{"key": "k", "value": "x"}]}))
    await bench.watching()
    await bench.create("a", labels={"k": "x"})
    await bench.update("a", {"metadata": {"labels": {"k": "y"}}})
    events = await bench.events({"k": "x"})
    assert told(events) == ["ADD a", "DELETE a"]
    assert not events[1].deselected


@pytest.mark.parametrize(
    ("time", "passes"),
    [
        ("2095-01-01T00:00:00", False),
        ("2026-01-01T00:00:00", True),
        ("2026-01-01", True),
        ("0001-01-01T00:00:00+14:00", True),
        ("9999-12-31T23:59:59-14:00", False),
        ("yesterday", True),
        ("", True),
        (None, True),
    ],
)
async def test_a_time_without_zone_is_utc_and_one_that_cannot_be_read_is_not_known(
    bench: Rig, monkeypatch: pytest.MonkeyPatch, time: str | None, passes: bool
) -> None:
    line = Change.line

    def without_zone(self: Change, shown: str) -> bytes:
        stamp = b'"creationTimestamp":' + msgspec.json.encode(time)
        return re.sub(rb'"creationTimestamp":"[^"]*"', stamp, line(self, shown))

    monkeypatch.setattr(Change, "line", without_zone)
    await bench.start(event_source(filter={"createdBy": "2090-01-01T00:00:00Z"}))
    await bench.watching()
    await bench.create("a")
    await bench.until(lambda: moved_to(bench, str(bench.api.version)))
    monkeypatch.setattr(Change, "line", line)
    assert told(await bench.events()) == ["ADD a"] * passes


async def moved_to(bench: Rig, version: str) -> bool:
    found = await (await bench.open()).checkpoints.checkpoint(KEY)
    return bool(found and found.state and found.state.position == version)


async def test_what_has_no_known_time_is_not_taken_for_older_than_the_start(
    bench: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Change.line

    def unreadable(self: Change, shown: str) -> bytes:
        return re.sub(rb'"creationTimestamp":"[^"]*"', b'"creationTimestamp":"soon"', line(self, shown))

    await bench.start(event_source(filter={"afterStart": True}))
    await bench.watching()
    monkeypatch.setattr(Change, "line", unreadable)
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]
