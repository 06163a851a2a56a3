"""Half-met conditions, as an operator sees and ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from kubecdc.cli.commands.bus import bus as bus_command
from kubecdc.cli.commands.dlq import dlq
from kubecdc.storage.contracts import Bus, StateChange, StateEntry
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.actors import Leader
from kubecdc.workers.conditions.stored import Record
from kubecdc.workers.plan import subscriptions
from kubecdc.workers.route import half_met_in
from kubecdc.workers.sensor.manifest import Sensor
from tests.workers.support import event

SOURCE = {"group": "argoproj.io", "version": "v1alpha1", "resource": "workflows"}
SENSOR: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Sensor",
    "metadata": {"name": "s"},
    "spec": {
        "dependencies": [{"name": name, "eventSourceName": "workflows", "eventName": name} for name in "ab"],
        "triggers": [{"template": {"name": "t", "conditionsKey": "key", "http": {"url": "http://127.0.0.1:9/"}}}],
    },
}
OTHER = {
    **SENSOR,
    "metadata": {"name": "other"},
    "spec": {**SENSOR["spec"], "triggers": [{"template": {"name": "t", "conditions": "a", "log": {}}}]},
}


class Desk:
    """A folder with manifests and a bus, on which commands are run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.said = ""  # by the last command, on standard error
        self.sensor = Sensor.model_validate(SENSOR)

    def write(self, sensor: dict[str, Any]) -> None:
        kinds = {"EventBus": ("default", {"sqlite": {"path": "bus.db"}}), "EventSource": ("workflows", self._source())}
        documents = [
            {"apiVersion": "kubecdc.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
            for kind, (name, spec) in kinds.items()
        ]
        (self._folder / "all.yaml").write_text(yaml.safe_dump_all([*documents, sensor]))

    @staticmethod
    def _source() -> dict[str, Any]:
        return {"resource": {name: {**SOURCE, "eventTypes": ["ADD"]} for name in "ab"}}

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        bus = await open_bus(SqliteSettings(self._folder / "bus.db"), holder="the test")
        try:
            yield bus
        finally:
            await bus.close()

    def run(self, command: Any, *args: str) -> str:
        done = CliRunner().invoke(command, [*args, "-f", str(self._folder / "all.yaml")], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        self.said = done.stderr
        return done.stdout

    def shown(self) -> dict[str, tuple[int | None, list[tuple[str, str]]]]:
        """Of each subscription how many events wait, and for what."""
        rows = json.loads(self.run(bus_command, "show", "-o", "json"))
        waiting = {row["subscription"]: [(one["key"], one["event"]) for one in row["waiting"]] for row in rows}
        return {row["subscription"]: (row["held"], waiting[row["subscription"]]) for row in rows}

    async def state(self) -> dict[str, StateEntry]:
        async with self.bus() as bus:
            found = {key: await bus.state.get("s/t", key) for key in await bus.state.keys("s/t")}
        return {key: entry for key, entry in found.items() if entry}


def of(name: str, number: int) -> Event:
    return msgspec.structs.replace(event(number), subject=name, id=f"{name}.uid.{number}.ADD")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Under the keys `x` and `y` one event waits, and under `z` a set whose trigger failed for good."""
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path)
    desk.write(SENSOR)

    async def prepare() -> None:
        async with desk.bus() as bus:
            await bus.register(subscriptions([desk.sensor]))
            half_met = half_met_in(desk.sensor, desk.sensor.spec.triggers[0], bus.state)
            for name, number, key in (("a", 1, "x"), ("b", 2, "y"), ("a", 3, "z")):
                assert await half_met.complete(name, of(name, number), key) is None
            last = of("b", 4)
            await (await Leader.take(bus, term=1)).commit(last)
            assert await half_met.complete("b", last, "z") is not None
            async for delivery in bus.subscription("s/t/b", prefetch=1).deliveries():
                await delivery.dead_letter("400")
                break

    asyncio.run(prepare())
    return desk


def test_bus_show_tells_which_events_wait_for_others(desk: Desk) -> None:
    assert desk.shown() == {"s/t/a": (1, [("x", "a.uid.1.ADD")]), "s/t/b": (1, [("y", "b.uid.2.ADD")])}
    assert "HELD" in desk.run(bus_command, "show").splitlines()[0]


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(desk: Desk) -> None:
    async def damage() -> None:
        async with desk.bus() as bus:
            await bus.state.put("s/t", "met/damaged", StateChange(value=b"no JSON", ttl=timedelta(hours=1)))

    asyncio.run(damage())
    assert [held for held, _ in desk.shown().values()] == [None, None]
    assert (
        "the number of held events cannot be read: what is half met of 's/t' is damaged: JSON is malformed" in desk.said
    )


def test_a_dead_letter_that_is_purged_takes_its_set_along(desk: Desk) -> None:
    assert [name for name in asyncio.run(desk.state()) if name.startswith("set/")] == ["set/b/workflows/b.uid.4.ADD"]
    assert desk.run(dlq, "purge", "--all", "--yes") == "1 purged\n"
    left = asyncio.run(desk.state())
    assert sorted(left) == ["met/x", "met/y", "met/z"]
    assert not any(Record.read(left["met/z"]).seen.values()), "it expires as the others do"
    assert [held for held, _ in desk.shown().values()] == [1, 1]


def test_what_is_half_met_of_a_trigger_that_was_removed_goes_with_its_last_subscription(desk: Desk) -> None:
    desk.write(OTHER)
    assert [held for held, _ in desk.shown().values()] == [1, 1]
    desk.run(bus_command, "prune", "s/t/a", "--yes")
    assert len(asyncio.run(desk.state())) == 4, "the other subscription is there"
    desk.run(bus_command, "prune", "--yes")
    assert asyncio.run(desk.state()) == {}
