"""From list and watch to events in the bus."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.testing.actors import known
from tests.apiserver import WORKFLOWS, LocalSimulator, WatchRules, objects, simulator
from tests.exported import REGISTRY
from tests.watcher.rig import KEY, SPEC, Rig, data, event_source, rig, told


async def test_what_exists_is_added_then_every_change_follows_in_order(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    await bench.watching()
    await bench.create("b")
    await bench.update("a", {"spec": {"n": 2}})
    await bench.delete("b")
    assert told(await bench.events()) == ["ADD a", "ADD b", "UPDATE a", "DELETE b"]


async def test_an_event_is_a_cloudevent_with_the_object_as_the_server_sent_it(bench: Rig) -> None:
    await bench.api.make_namespaces("prod")
    await bench.start(event_source(metadata={"team": "ml"}))
    made = await bench.create("a", namespace="prod", labels={"x": "y"})
    (event,) = await bench.events()
    meta = made["metadata"]
    assert event.id == f"changed.{meta['uid']}.{meta['resourceVersion']}.ADD"
    assert (event.source, event.subject, event.type) == ("workflows", "changed", "resource")
    assert event.partitionkey == "workflows.argoproj.io/prod/a"
    assert event.sequence == meta["resourceVersion"].zfill(20)
    assert event.epoch == await (await bench.open()).checkpoints.newest_term()
    assert (event.timeline, event.synthetic) == (0, False)
    assert data(event) == {
        "type": "ADD",
        "body": made,
        "oldBody": None,
        "group": "argoproj.io",
        "version": "v1alpha1",
        "resource": "workflows",
        "metadata": {"team": "ml"},
    }


async def test_a_restart_resumes_and_repeats_nothing(bench: Rig) -> None:
    await bench.start()
    await bench.create("a")
    assert told(await bench.events()) == ["ADD a"]
    await bench.kill()
    await bench.create("b")
    await bench.update("a", {"spec": {"n": 2}})
    await bench.delete("b")
    await bench.start()
    assert told(await bench.events()) == ["ADD b", "UPDATE a", "DELETE b"]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []


async def test_event_types_that_are_not_wanted_still_move_the_position(bench: Rig) -> None:
    await bench.start(event_source(eventTypes=["ADD"]))
    await bench.watching()
    await bench.create("a")
    await bench.update("a", {"spec": {"n": 2}})
    await bench.delete("a")
    assert told(await bench.events()) == ["ADD a"]
    (checkpoint,) = await (await bench.open()).checkpoints.checkpoints()
    assert checkpoint.state is not None
    assert checkpoint.state.position == str(bench.api.version)


async def test_bookmarks_move_the_position_of_a_quiet_watch(tmp_path: Path) -> None:
    async with (
        simulator(rules=WatchRules(bookmark_interval=0.05)) as api,
        rig(api, tmp_path) as bench,
    ):
        await bench.start(event_source(filter={"labels": [{"key": "no", "operation": "exists"}]}))
        await bench.watching()
        made = await bench.create("other")

        async def moved() -> bool:
            (checkpoint,) = await (await bench.open()).checkpoints.checkpoints()
            assert checkpoint.state is not None
            return bool(checkpoint.state.position == made["metadata"]["resourceVersion"])

        await bench.until(moved)


async def test_objects_are_listed_in_pages_and_none_is_missed(bench: Rig) -> None:
    names = [f"wf-{i:03}" for i in range(130)]
    for name in names:
        await bench.create(name)
    await bench.start()
    assert told(await bench.events()) == [f"ADD {name}" for name in names]


async def test_initial_list_skip_announces_changes_only(bench: Rig) -> None:
    await bench.create("old")
    await bench.start(event_source(initialList="skip"))
    await bench.watching()
    await bench.create("new")
    await bench.delete("old")
    assert told(await bench.events()) == ["ADD new", "DELETE old"]


async def test_one_namespace_or_several_each_with_a_checkpoint_of_its_own(bench: Rig) -> None:
    await bench.api.make_namespaces("a", "b", "c")
    for namespace in ("a", "b", "c"):
        await bench.create(f"in-{namespace}", namespace=namespace)
    await bench.start(event_source(namespaces=["a", "b"]))

    async def two() -> bool:
        return bench.api.watching == 2

    await bench.until(two)
    events = await bench.events(namespace="a")
    assert sorted(told(events)) == ["ADD in-a", "ADD in-b"]
    keys = [c.key for c in await (await bench.open()).checkpoints.checkpoints()]
    assert keys == [f"{KEY}/a", f"{KEY}/b"]


@pytest.mark.parametrize(
    ("operation", "value", "passes"),
    [
        ("=", "x", ["x"]),
        ("==", "x", ["x"]),
        ("!=", "x", ["none", "y", "1", "3"]),
        ("in", "x,y", ["x", "y"]),
        ("notin", "x,y", ["none", "1", "3"]),
        ("exists", "", ["x", "y", "1", "3"]),
        ("!", "", ["none"]),
        ("gt", "2", ["3"]),
        ("lt", "2", ["1"]),
    ],
)
async def test_label_operators_select_on_the_server(bench: Rig, operation: str, value: str, passes: list[str]) -> None:
    for label in ("x", "y", "1", "3"):
        await bench.create(f"l-{label}", labels={"k": label})
    await bench.create("l-none")
    selector = {"key": "k", "operation": operation, "value": value}
    await bench.start(event_source(filter={"labels": [selector]}))
    await bench.watching()
    marker = None if passes[0] == "none" else {"k": passes[0]}
    assert sorted(told(await bench.events(marker_labels=marker))) == sorted(f"ADD l-{p}" for p in passes)


async def test_leaving_and_entering_a_selector_are_delete_and_add(bench: Rig) -> None:
    await bench.start(event_source(filter={"labels": [{"key": "k", "value": "x"}]}))
    await bench.watching()
    await bench.create("a", labels={"k": "x"})
    await bench.update("a", {"metadata": {"labels": {"k": "y"}}})
    await bench.update("a", {"metadata": {"labels": {"k": "x"}}})
    await bench.create("b", labels={"k": "x"})
    await bench.delete("b")
    events = await bench.events(marker_labels={"k": "x"})
    assert told(events) == ["ADD a", "DELETE a", "ADD a", "ADD b", "DELETE b"]
    # `a` only left the selector, and exists; `b` is gone.
    assert [e.deselected for e in events] == [False, True, False, False, False]


async def test_without_the_right_to_get_a_deselected_object_looks_deleted(
    bench: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.api.fail(403, path="workflows/")
    await bench.start(event_source(filter={"labels": [{"key": "k", "value": "x"}]}))
    await bench.watching()
    await bench.create("a", labels={"k": "x"})
    await bench.update("a", {"metadata": {"labels": {"k": "y"}}})
    events = await bench.events(marker_labels={"k": "x"})
    assert told(events) == ["ADD a", "DELETE a"]
    assert not events[1].deselected
    assert "deselected objects cannot be told" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ({"key": "status.phase", "value": "Succeeded|Failed"}, ["s", "f"]),
        ({"key": "status.phase", "operation": "==", "value": "^Succ"}, ["s"]),
        ({"key": "status.phase", "operation": "!=", "value": "Running"}, ["s", "f", "none"]),
        ({"key": "spec.n", "operation": "=", "value": "^3$"}, ["none"]),
    ],
)
async def test_field_filters_are_regular_expressions_on_paths(
    bench: Rig, condition: dict[str, str], passes: list[str]
) -> None:
    for name, phase in (("s", "Succeeded"), ("r", "Running"), ("f", "Failed")):
        await bench.create(name, phase=phase)
    await bench.create("none", n=3)
    await bench.start(event_source(filter={"fields": [condition]}))
    assert sorted(told(await bench.events(phase="Succeeded", n=3))) == sorted(f"ADD {p}" for p in passes)


async def test_prefix_and_created_by(bench: Rig) -> None:
    await bench.create("job-1")
    await bench.create("other")
    await bench.start(event_source(filter={"prefix": "zz"}))
    assert told(await bench.events()) == []
    await bench.kill()
    await bench.start(event_source(filter={"prefix": "job", "createdBy": "2020-01-01T00:00:00Z"}))
    await bench.watching()
    bus = await bench.open()
    assert (await bus.subscriptions())[0].pending == 0


async def test_after_start_counts_from_the_first_start_ever(bench: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "now", lambda: "2020-01-01T00:00:00Z")
    await bench.create("old")
    monkeypatch.undo()
    await bench.start(event_source(filter={"afterStart": True}))
    await bench.watching()
    await bench.create("new")
    await bench.update("old", {"spec": {"n": 2}})
    assert told(await bench.events()) == ["ADD new", "UPDATE old"]
    await bench.kill()
    await bench.create("while-down")
    await bench.start(event_source(filter={"afterStart": True}))
    assert told(await bench.events()) == ["ADD while-down"]


async def test_an_entry_that_nobody_subscribes_to_waits_and_says_so(
    bench: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    await bench.create("a")
    await bench.start(register=False)

    async def said() -> bool:
        return "nobody subscribes" in capsys.readouterr().out

    await bench.until(said)
    bus = await bench.open()
    await bus.register([SPEC])
    assert told(await bench.events()) == ["ADD a"]


async def test_a_subscription_added_later_is_owed_what_is_committed_from_then_on(bench: Rig) -> None:
    await bench.start()
    await bench.create("before")
    assert told(await bench.events()) == ["ADD before"]
    bus = await bench.open()
    late = SubscriptionSpec("late/one", SPEC.source, SPEC.subject)
    await bus.register([late])
    await bench.create("after")
    assert told(await bench.events()) == ["ADD after"]
    pending = {s.spec.name: s.pending for s in await bus.subscriptions()}
    assert pending == {"late/one": 2, SPEC.name: 0}  # `after` and its marker


async def test_a_full_bus_blocks_the_watcher_and_names_who_holds_it(
    api: LocalSimulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with rig(api, tmp_path, max_pending=3) as bench:
        bus = await bench.open()
        await bus.register([SubscriptionSpec("gone/renamed", SPEC.source, SPEC.subject)])
        await bench.start()
        await bench.watching()
        names = [f"wf-{i}" for i in range(8)]
        for name in names[:4]:
            await bench.create(name)

        async def full() -> bool:
            return all(known(s.pending) >= 3 for s in await bus.subscriptions())

        await bench.until(full)
        for name in names[4:]:
            await bench.create(name)

        async def blocked() -> bool:
            out = capsys.readouterr().out
            return "the bus is full" in out and "gone/renamed" in out

        await bench.until(blocked)
        assert await bus.prune("gone/renamed")
        assert told(await bench.events()) == [f"ADD {n}" for n in names]


async def test_an_object_above_what_the_bus_carries_goes_with_metadata_only(bench: Rig) -> None:
    from dataclasses import replace

    class Small:
        def __init__(self, bus: object) -> None:
            self._bus = bus

        def __getattr__(self, name: str) -> object:
            return getattr(self._bus, name)

        @property
        def capabilities(self) -> object:
            return replace(self._bus.capabilities, max_event_bytes=2000)  # type: ignore[attr-defined]

    counted = REGISTRY.get_sample_value("kubecdc_truncated_events_total", {"watch": KEY}) or 0.0
    bench.wrap = Small  # type: ignore[assignment]
    await bench.start()
    made = await bench.create("big", text="x" * 5000)
    await bench.create("small")
    big, small = await bench.events()
    assert (big.truncated, small.truncated) == (True, False)
    assert REGISTRY.get_sample_value("kubecdc_truncated_events_total", {"watch": KEY}) == counted + 1
    assert data(big)["body"]["metadata"]["uid"] == made["metadata"]["uid"]
    assert "spec" not in data(big)["body"]


async def test_an_object_of_more_than_a_megabyte_is_captured_whole(bench: Rig) -> None:
    await bench.start()
    await bench.watching()
    made = await bench.create("big", text="x" * 1_400_000)
    (event,) = await bench.events()
    assert data(event)["body"] == made
    assert await bench.api.get(*WORKFLOWS, "default", "big") == made
