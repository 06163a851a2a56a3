"""What a process makes of manifests that change: good ones are in use, bad ones change nothing and are named."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from kubecdc.cli.manifests.loading import load
from kubecdc.cli.reload.looks import Looks, look
from kubecdc.cli.reload.on_bus import OnBus
from kubecdc.cli.reload.outcome import Outcome
from kubecdc.cli.reload.reloading import IN_USE, NOT_USED, Reloading
from kubecdc.cli.reload.uses import require_no_restart, uses_of
from kubecdc.cluster.shared import SharedCluster, no_cluster
from kubecdc.errors import Refused, Unavailable, UsageError
from kubecdc.metrics import Series
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from tests.cli.rig import SENSOR, SOURCE
from tests.harness.mounted import Mounted
from tests.workers.test_metrics import exported

BUS = """
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {sqlite: {path: kubecdc.db}}
"""
OTHER_SENSOR = SENSOR.replace("name: print", "name: second")
SUCCESSFUL = "kubecdc_manifests_last_reload_successful"


class FakeBus:
    """A bus that takes registrations. ``errors`` come first."""

    def __init__(self) -> None:
        self.registered: dict[str, SubscriptionSpec] = {}
        self.errors: list[Exception] = []
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        self.asked += 1
        await self.answers.wait()
        for spec in specs:
            self.registered[spec.name] = spec  # an error may leave a part
            if self.errors:
                raise self.errors.pop(0)


class House:
    """A process that follows a ConfigMap with manifests."""

    def __init__(self, folder: Path) -> None:
        self.files = {"source.yaml": SOURCE, "sensor.yaml": SENSOR, "bus.yaml": BUS}
        self.mounted = Mounted(folder / "manifests", self.files)
        self.bus, self.second = FakeBus(), FakeBus()
        self.on: dict[str, OnBus] = {}
        self.outcome = Outcome()
        self.logs: list[Any] = []

    def write(self, **files: str | None) -> None:
        """Change files, by their names without `.yaml`; None removes one."""
        for name, text in files.items():
            self.files.pop(f"{name}.yaml", None)
            if text is not None:
                self.files[f"{name}.yaml"] = text
        self.mounted.swap(self.files)

    @asynccontextmanager
    async def following(self, *, watch: bool = True, work: bool = True) -> AsyncIterator[OnBus]:
        paths = [str(self.mounted.path)]
        read, find = partial(load, paths, stdin=io.StringIO()), partial(look, paths)
        ask = partial(uses_of, watch=watch, work=work)
        self.looks = Looks(find, find(), period=0.005)
        uses = ask(read())
        reloading = Reloading(read, ask, self.looks, self.outcome)
        self.on = {name: OnBus(use) for name, use in uses.items()}
        for name, on in self.on.items():
            bus = self.bus if name == "default" else self.second
            on.opened(cast(Bus, bus))
            await bus.register(on.use.subscriptions)
        with structlog.testing.capture_logs() as self.logs:
            following = asyncio.create_task(reloading.run(self.on, SharedCluster(no_cluster)))
            try:
                yield self.on["default"]
            finally:
                following.cancel()
                await asyncio.wait({following})
        if not following.cancelled():
            following.result()

    def said(self, text: str) -> list[Any]:
        return [line for line in self.logs if line["event"] == text]

    async def until(self, text: str, count: int = 1) -> Any:
        """The line with that text, the so-manieth."""
        async with asyncio.timeout(60):
            while len(self.said(text)) < count:  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.005)
        return self.said(text)[count - 1]

    async def asked(self, count: int) -> None:
        """Wait until the bus was asked to register so often."""
        async with asyncio.timeout(60):
            while self.bus.asked < count:  # noqa: ASYNC110 - a bus
                await asyncio.sleep(0.005)


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_what_is_new_is_registered_and_then_in_use_and_what_has_gone_is_not(house: House) -> None:
    async with house.following() as on:
        house.write(second=OTHER_SENSOR)
        line = await house.until(IN_USE)
        assert line["triggers_added"] == line["subscriptions_added"] == ["second/line"]
        assert sorted(house.bus.registered) == ["print/line", "second/line"] == sorted(on.triggers.value)
        house.write(second=None)
        line = await house.until(IN_USE, 2)
        assert line["triggers_removed"] == ["second/line"] and "triggers_changed" not in line
        assert [spec.name for spec in on.subscriptions.value] == ["print/line"]
        house.write(source=SOURCE.replace("ADD, UPDATE", "UPDATE"))
        line = await house.until(IN_USE, 3)
        assert line["entries_changed"] == ["workflows/changed"] and "triggers_changed" not in line


async def test_bad_manifests_change_nothing_and_each_is_named_once(house: House) -> None:
    async with house.following() as on:
        house.outcome.export(series := Series())
        before = on.use
        house.write(second=OTHER_SENSOR.replace("log: {}", "log: {wrong: 1}"), third="a: [")
        line = await house.until(NOT_USED)
        assert line["count"] == 2 and "third.yaml" in line["problems"][0] and "log.wrong" in line["problems"][1]
        await asyncio.sleep(0.1)  # some looks more
        assert len(house.said(NOT_USED)) == 1
        assert on.use is before and "2 problems" in str(house.outcome.trouble)
        assert exported()[SUCCESSFUL] == 0
        house.write(third=None)
        line = await house.until(NOT_USED, 2)
        assert line["count"] == 1
        house.looks.ask()
        await house.until(NOT_USED, 3)
        house.write(second=OTHER_SENSOR)
        await house.until(IN_USE)
        assert house.outcome.trouble is None and exported()[SUCCESSFUL] == 1
        assert len(house.said("recovered")) == 1
        series.close()


async def test_manifests_that_are_as_before_again_are_no_problem_any_more(house: House) -> None:
    async with house.following() as on:
        before = on.triggers.value
        house.write(sensor="a: [")
        await house.until(NOT_USED)
        house.write(sensor=SENSOR)
        assert "sensor.yaml" in (await house.until("recovered"))["was"]
        assert not house.outcome.trouble
        assert on.triggers.value == before and not house.said(IN_USE)
        house.looks.ask()  # whoever asks is answered
        await house.until(IN_USE)


async def test_a_bus_that_is_away_is_waited_for_and_newer_manifests_take_the_place_of_older_ones(house: House) -> None:
    async with house.following() as on:
        house.bus.answers.clear()
        house.write(second=OTHER_SENSOR)
        await house.asked(2)
        house.write(second=OTHER_SENSOR.replace("name: second", "name: third"))
        await house.asked(3)
        house.bus.errors = [Unavailable("away")]
        house.bus.answers.set()
        await house.until(IN_USE)
        assert sorted(on.triggers.value) == ["print/line", "third/line"]


async def test_a_process_that_is_told_to_stop_does_not_wait_for_a_bus_that_is_away(house: House) -> None:
    async with asyncio.timeout(60), house.following() as on:
        house.bus.answers.clear()
        house.write(second=OTHER_SENSOR)
        await house.asked(2)
    assert sorted(on.triggers.value) == ["print/line"], "it starts with the new ones"


async def test_bad_manifests_are_still_a_problem_after_older_ones_have_come_into_use(house: House) -> None:
    async with house.following() as on:
        house.bus.answers.clear()
        house.write(second=OTHER_SENSOR)
        await house.asked(2)
        house.write(third="a: [")
        await house.until(NOT_USED)
        house.bus.answers.set()
        await house.until(IN_USE)
        assert "second/line" in on.triggers.value and house.outcome.trouble


async def test_a_bus_that_refuses_has_what_it_had_and_everything_goes_on(house: House) -> None:
    """A dependency that is registered, and is not in use, would take the events of the one that is."""
    async with house.following() as on:
        before = dict(house.bus.registered)
        house.bus.errors = [Refused("there is no right to create a queue", hint="grant it")]
        house.write(sensor=SENSOR.replace("eventName: changed", "eventName: other"), source=SOURCE + ENTRY)
        line = await house.until(NOT_USED)
        assert (line["reason"], line["hint"]) == ("there is no right to create a queue", "grant it")
        assert house.bus.registered == before and "workflows/other" not in on.entries.value


async def test_a_bus_that_is_away_or_refuses_holds_up_no_other(house: House) -> None:
    second = BUS.replace("default", "second").replace("kubecdc.db", "second.db")
    on_second = OTHER_SENSOR.replace("spec:\n", "spec:\n  eventBusName: second\n")
    house.write(bus=f"{BUS}---{second}", second=on_second, source=None)
    async with house.following(watch=False) as on:
        house.second.answers.clear()
        house.bus.errors = [Refused("no")]
        third = SENSOR.replace("name: print", "name: third")
        house.write(second=on_second.replace("name: line", "name: other"), third=third)
        assert (await house.until(NOT_USED))["reason"] == "no"
        assert "third/line" not in on.triggers.value
        house.second.answers.set()
        async with asyncio.timeout(60):
            await house.on["second"].triggers.until(lambda plan: "second/other" in plan)
        assert house.outcome.trouble is not None and not house.said(IN_USE)
        house.looks.ask()
        await house.until(IN_USE)
        assert "third/line" in on.triggers.value


ENTRY = """\
    other: {group: argoproj.io, version: v1alpha1, resource: workflows, eventTypes: [ADD]}
"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bus": BUS.replace("kubecdc.db", "other.db")}, "spec.sqlite changed"),
        ({"bus": BUS.replace("spec: {", "spec: {retention: 1h, maxPending: 5, ")}, "spec.retention, spec.maxPending"),
        ({"bus": BUS.replace("name: default", "name: default, namespace: x")}, "metadata.namespace changed"),
        (
            {"bus": f"{BUS}---{BUS.replace('default', 'second').replace('kubecdc.db', 'o.db')}",
             "sensor": SENSOR.replace("spec:\n", "spec:\n  eventBusName: second\n")},
            "no EventSource or Sensor uses this bus any more",
        ),
    ],
)  # fmt: skip
async def test_another_bus_needs_a_restart_and_says_so(house: House, change: dict[str, str], reason: str) -> None:
    async with house.following(watch=False) as on:
        before = on.use
        moved = SOURCE.replace("spec:\n", "spec:\n  eventBusName: second\n")
        house.write(**change, source=moved if "sensor" in change else SOURCE)
        line = await house.until(NOT_USED)
        assert reason in line["reason"] and "needs a restart" in line["reason"] and on.use is before


async def test_subscriptions_of_a_bus_need_no_restart(house: House) -> None:
    async with house.following() as on:
        more = "subscriptions: [{name: mine, eventSourceName: workflows, eventName: changed}]"
        house.write(bus=BUS.replace("spec: {", f"spec: {{{more}, "))
        line = await house.until(IN_USE)
        assert line["subscriptions_added"] == ["mine"] and "mine" in house.bus.registered
        assert len(on.subscriptions.value) == 2


async def test_a_process_that_would_have_nothing_to_do_goes_on_as_before(house: House) -> None:
    async with house.following(watch=False):
        house.write(sensor=None)
        line = await house.until(NOT_USED)
        assert "no Sensor" in line["reason"]


def test_without_its_bus_a_process_needs_a_restart(house: House) -> None:
    uses = uses_of(load([str(house.mounted.path)], stdin=io.StringIO()), watch=True, work=True)
    require_no_restart(uses, uses)
    with pytest.raises(UsageError, match="no EventSource or Sensor uses this bus any more"):
        require_no_restart(uses, {})
    with pytest.raises(UsageError, match="no EventSource or Sensor used this bus before"):
        require_no_restart({}, uses)
    watched_elsewhere = {"default": replace(uses["default"], entries={})}
    with pytest.raises(UsageError, match="it has no EventSource now"):
        require_no_restart(uses, watched_elsewhere)
