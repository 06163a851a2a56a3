"""Entries in several namespaces: the ones that are named, and the ones that a selector finds, as they come and go."""

from __future__ import annotations

from typing import Any

import pytest

from storage.backoff import Backoff
from storage.errors import Refused
from storage.event import Event
from storage.testing.faults import Crash, FaultyBus, Script, crash_after, crash_before
from tests.apiserver import NAMESPACES, simulator
from tests.watcher.rig import KEY, Rig, event_source, told
from watcher import namespaces, pipeline, repair

PROD = event_source(namespaceSelector={"matchLabels": {"env": "prod"}})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(namespaces, "BACKOFF", Backoff(0.01, 1.5, 0.1, 0.1))
    monkeypatch.setattr(namespaces, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(repair, "COMMIT_OBJECTS", 2)


async def namespace(bench: Rig, name: str, env: str = "") -> None:
    labels = {"env": env} if env else {}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await bench.api.create(*NAMESPACES, "", body)


async def relabel(bench: Rig, name: str, env: str | None) -> None:
    await bench.api.patch(*NAMESPACES, "", name, {"metadata": {"labels": {"env": env}}})


async def keys(bench: Rig, *expected: str) -> None:
    """Wait until these checkpoints, and no others, have been made and are past their first list."""

    async def there() -> bool:
        states = {c.key: c.state for c in await (await bench.open()).checkpoints.checkpoints() if c.state}
        return sorted(states) == sorted(expected) and not any(s.listing for s in states.values())

    await bench.until(there)


async def test_namespaces_that_match_are_watched_as_they_come_and_go(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two")
    await bench.create("a", namespace="one")
    await bench.create("b", namespace="two")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one")
    assert told(await bench.events(namespace="one")) == ["ADD a"]
    await relabel(bench, "two", "prod")
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    events = await bench.events(namespace="two")
    assert told(events) == ["ADD b"]
    assert not events[0].synthetic  # a first list, no gap
    await relabel(bench, "one", "test")
    await keys(bench, f"{KEY}/two")
    events = await bench.events(namespace="two")
    assert told(events) == ["~DELETE a"]
    assert events[0].deselected
    await relabel(bench, "one", "prod")
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert told(await bench.events(namespace="one")) == ["ADD a"]


async def test_what_changed_among_the_namespaces_while_down_is_caught_up(bench: Rig) -> None:
    for name in ("one", "two"):
        await namespace(bench, name, "prod")
        await bench.create(f"in-{name}", namespace=name)
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    assert sorted(told(await bench.events(namespace="one"))) == ["ADD in-one", "ADD in-two"]
    await bench.kill()
    await relabel(bench, "one", None)
    await namespace(bench, "three", "prod")
    await bench.create("in-three", namespace="three")
    await bench.delete("in-two", namespace="two")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/two", f"{KEY}/three")
    events = {e.partitionkey.split("/")[2]: e for e in await bench.events(namespace="three")}
    assert told([events["in-one"]]) == ["~DELETE in-one"]
    assert events["in-one"].deselected
    assert told([events["in-two"], events["in-three"]]) == ["DELETE in-two", "ADD in-three"]


async def test_a_namespace_that_is_deleted_ends_its_objects(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    await bench.create("a", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    await bench.events(namespace="two")
    await bench.api.delete(*NAMESPACES, "", "one")
    await keys(bench, f"{KEY}/two")
    (event,) = await bench.events(namespace="two")
    assert told([event])[0].removeprefix("~") == "DELETE a"
    assert not event.deselected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"namespaces": ["one", "two"]}, {"namespaces": ["one"]}, ["~DELETE in-two"]),
        ({}, {"namespaces": ["one"]}, ["~DELETE in-one", "~DELETE in-two", "ADD in-one"]),
        ({"namespaces": ["one"]}, {}, ["~DELETE in-one", "ADD in-one", "ADD in-two"]),
        ({"namespace": "one"}, {"namespace": "two"}, ["~ADD in-two", "~DELETE in-one"]),
    ],
)
async def test_a_manifest_that_names_other_namespaces_ends_what_is_left(
    bench: Rig, before: dict[str, Any], after: dict[str, Any], expected: list[str]
) -> None:
    await bench.api.make_namespaces("one", "two")
    for name in ("one", "two"):
        await bench.create(f"in-{name}", namespace=name)
    await bench.start(event_source(**before))
    await bench.watching()
    place = (before.get("namespaces") or [before.get("namespace", "one")])[0]
    await bench.events(namespace=place)
    await bench.kill()
    await bench.start(event_source(**after))
    await bench.watching()
    place = (after.get("namespaces") or [after.get("namespace", "one")])[0]
    events = await bench.events(namespace=place)
    ends = [e for e in told(events) if "DELETE" in e]
    assert sorted(told(events)) == sorted(expected)
    assert all(e.deselected for e in events if "DELETE" in told([e])[0])
    if len(ends) > 1 or "ADD in-one" in expected:
        assert told(events).index("~DELETE in-one") < told(events).index("ADD in-one")


@pytest.mark.parametrize("fault", [crash_before, crash_after])
@pytest.mark.parametrize("commits", range(4))
async def test_killed_while_leaving_a_namespace_that_is_selected_again(bench: Rig, commits: int, fault: Any) -> None:
    await namespace(bench, "one", "prod")
    await namespace(bench, "two", "prod")
    for name in "abcde":
        await bench.create(name, namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    known: set[str] = set()

    def apply(events: list[Event]) -> None:
        for event in events:
            name = event.partitionkey.rsplit("/", 1)[1]
            if "DELETE" in told([event])[0]:
                known.remove(name)
            else:
                known.add(name)

    apply(await bench.events(namespace="one"))
    await bench.kill()
    await relabel(bench, "one", None)
    bench.wrap = lambda bus: FaultyBus(bus, commits=Script([*[None] * commits, fault]))
    await bench.start(PROD)
    assert isinstance(await bench.ended(), Crash)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await relabel(bench, "one", "prod")
    await bench.delete("c", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one", f"{KEY}/two")
    apply(await bench.events(namespace="one"))
    assert known == set("abde")


async def test_another_cluster_is_refused_before_any_namespace_is_left(bench: Rig) -> None:
    await namespace(bench, "one", "prod")
    await bench.create("a", namespace="one")
    await bench.start(PROD)
    await keys(bench, f"{KEY}/one")
    await bench.events(namespace="one")
    await bench.kill()
    async with simulator() as other:
        other.kubeconfig(bench.kubeconfig)
        await bench.start(PROD)
        assert isinstance(await bench.ended(), Refused)
        assert (await (await bench.open()).subscriptions())[0].pending == 0
        await bench.kill()
