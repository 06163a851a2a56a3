"""A checkpoint that was made for something else: another selector, resource or cluster, or none any more."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import structlog

from kubecdc.errors import Refused
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.testing.fault_injection import Call, FaultyBus, Script, refused
from kubecdc.watcher import entries
from tests.apiserver import simulator
from tests.watcher.rig import KEY, MARKER, NAME, SOURCE, Rig, event_source, told

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("first", ["x", "y"])
async def test_a_changed_label_selector_is_a_gap(bench: Rig, first: str) -> None:
    for name, label in (("both", "x"), ("only-y", "y"), ("neither", "z")):
        await bench.create(name, labels={"k": label, "all": "yes"})
    await bench.start(event_source(filter={"labels": [{"key": "k", "value": "x"}]}))
    assert told(await bench.events({"k": "x"})) == ["ADD both"]
    await bench.kill()
    await bench.start(event_source(filter={"labels": [{"key": "k", "operation": "in", "value": f"y,{first}"}]}))
    expected = ["~ADD only-y"] if first == "x" else ["~ADD only-y", "~DELETE both"]
    events = await bench.events({"k": "y"})
    assert [e for e in told(events) if MARKER not in e] == expected
    assert all(e.deselected for e in events[1:])
    (gap,) = await (await bench.open()).checkpoints.gaps(KEY)
    assert gap.reason == "another selection"


async def test_a_changed_field_filter_announces_what_passes_now(bench: Rig) -> None:
    for name, phase in (("r", "Running"), ("s", "Succeeded")):
        await bench.create(name, phase=phase)

    def passing(phase: str) -> dict[str, object]:
        return {"fields": [{"key": "status.phase", "value": phase}]}

    await bench.start(event_source(filter=passing("Running")))
    assert told(await bench.events(phase="Running")) == ["ADD r"]
    await bench.kill()
    await bench.start(event_source(filter=passing("Succeeded")))
    assert told(await bench.events(phase="Succeeded")) == ["~UPDATE s"]
    await bench.kill()
    await bench.delete("r")
    await bench.delete("s")
    await bench.api.expire_history()
    await bench.start(event_source(filter=passing("Succeeded")))
    # Of what is gone, only what passed last is announced.
    assert told(await bench.events(phase="Succeeded")) == ["~DELETE s"]


async def test_an_entry_that_turns_to_another_resource_ends_what_it_knew(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    await bench.events()
    await bench.kill()
    config = event_source(group="", version="v1", resource="configmaps")
    await bench.api.create(
        "", "v1", "configmaps", "default", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}}
    )
    await bench.start(config)
    await bench.watching()
    bus = await bench.open()
    found: list[Event] = []
    async for delivery in bus.subscription("test/all", prefetch=1).deliveries():
        found.append(delivery.event)
        await delivery.ack()
        if "cm" in told(found[-1:])[0]:
            break
    assert told(found) == ["~DELETE a", f"~DELETE {MARKER}1", "~ADD cm"] or told(found) == [
        f"~DELETE {MARKER}1",
        "~DELETE a",
        "~ADD cm",
    ]
    assert [e.deselected for e in found] == [True, True, False]
    assert [e.partitionkey.split("/")[0] for e in found] == ["workflows.argoproj.io"] * 2 + ["configmaps."]


async def test_another_cluster_under_the_checkpoint_is_refused_and_nothing_is_sent(bench: Rig, tmp_path: Path) -> None:
    await bench.create("a")
    await bench.start()
    await bench.events()
    await bench.kill()
    async with simulator() as other:
        bench.kubeconfig = other.kubeconfig(tmp_path / "other")
        await bench.start()
        error = await bench.ended()
        assert isinstance(error, Refused)
        assert "another cluster" in str(error)
        assert f"kubecdc checkpoint reset {KEY}" in error.hint
        assert (await (await bench.open()).subscriptions())[0].pending == 0
        await bench.kill()


async def test_after_a_reset_the_watch_lists_as_at_its_first_start(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    bus = await bench.open()
    assert await bus.checkpoints.reset(KEY)
    # The leader at work notices at its next commit.
    await bench.create("b")
    assert set(told(await bench.events())) >= {"ADD a", "ADD b"}
    assert await bus.checkpoints.gaps(KEY) == []


async def test_an_entry_that_is_removed_keeps_its_place_and_is_named(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    await bench.kill()
    await bench.update("a", {"spec": {"n": 1}})
    other = event_source()
    other.spec.resource["another"] = other.spec.resource.pop(NAME)
    await (await bench.open()).register([SubscriptionSpec("test/another", SOURCE, "another")])
    with structlog.testing.capture_logs() as logs:
        await bench.start(other)

        async def named() -> bool:
            said = {line["event"] for line in logs}
            return {entries.REMOVED, "listed"} <= said  # else the list of the other one would be under way for good

        await bench.until(named)
        await bench.kill()
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert (line["watch"], line["event"]) == (KEY, entries.REMOVED)
    await bench.delete("a")
    with structlog.testing.capture_logs() as logs:
        await bench.start()
        assert told(await bench.events()) == ["UPDATE a", "DELETE a"]
    assert KEY not in [line["watch"] for line in logs if line["event"] == entries.REMOVED]


async def test_what_a_blocked_bus_held_up_is_told_by_the_next_leader(bench: Rig) -> None:
    await bench.create("a")
    await bench.start()
    assert told(await bench.events()) == ["ADD a"]
    await bench.kill()
    refusals: list[None] = []

    async def blocked(call: Call) -> None:
        refusals.append(None)
        await refused(call)

    bench.wrap = lambda bus: FaultyBus(bus, commits=Script(itertools.repeat(blocked)))
    await bench.start()
    for n in range(3):
        await bench.update("a", {"spec": {"n": n}})
    await bench.delete("a")

    async def held_up() -> bool:
        return bool(refusals)

    await bench.until(held_up)
    await bench.kill()
    bench.wrap = lambda bus: bus
    await bench.start()
    assert told(await bench.events()) == ["UPDATE a"] * 3 + ["DELETE a"]
    assert await (await bench.open()).checkpoints.gaps(KEY) == []
