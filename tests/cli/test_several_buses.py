"""A process with several buses: each works on its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.cli.rig import SENSOR, SOURCE, Desk
from tests.cli.scene import slow_names
from tests.cli.silent import Silent, silent_server
from tests.ports import free_port

BUSES = """\
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec: {{sqlite: {{path: default.db}}}}
---
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {{name: other}}
spec: {bus}
"""


def with_a_second_bus(desk: Desk, bus: str) -> None:
    """An EventSource and a Sensor on another bus beside those of the default bus."""
    desk.write("buses.yaml", BUSES.format(bus=bus))
    desk.write("other-source.yaml", on_other(SOURCE, "workflows", "others"))
    desk.write("other-sensor.yaml", on_other(SENSOR, "print", "printer").replace("workflows", "others"))


def on_other(manifest: str, name: str, its_name: str) -> str:
    renamed = manifest.replace(f"metadata: {{name: {name}}}", f"metadata: {{name: {its_name}}}")
    return renamed.replace("spec:\n", "spec:\n  eventBusName: other\n", 1)


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    async with silent_server() as silent:
        yield silent


@pytest.mark.parametrize("how", ["silent", "refusing", "its name takes long"])
async def test_a_bus_that_is_away_at_the_start_keeps_no_other_from_working(
    desk: Desk, silent: Silent, tmp_path: Path, how: str
) -> None:
    places = {"silent": f"127.0.0.1:{silent.port}", "refusing": "127.0.0.1:1", "its name takes long": "slow.example"}
    with_a_second_bus(desk, f'{{redis: {{url: "redis://{places[how]}/0"}}}}')
    if how == "its name takes long":
        desk.environment |= {"LD_PRELOAD": str(slow_names(tmp_path)), "ASKED": str(tmp_path / "asked")}
    async with desk.running("run", "--no-leader-election") as run:
        await desk.create("first")
        await run.until('"name":"first"', out=True)
        if how == "refusing":
            await run.until("waiting for the bus")
            assert [line["name"] for line in run.lines("waiting for the bus")] == ["other"]
        assert [line["name"] for line in run.lines("bus") if line["event"] == "bus"] == ["default"]
    assert run.process.returncode == 0


async def test_a_bus_that_cannot_be_used_ends_the_process_with_that_error_alone(desk: Desk) -> None:
    with_a_second_bus(desk, "{sqlite: {path: no/such/folder/bus.db}}")
    done = await desk.call("run", "--no-leader-election", "--log-format", "json")
    assert done.code == 2
    (error, _) = [line for line in done.err.splitlines() if not line.startswith("{")]
    assert error.startswith("kubecdc: cannot open ")
    assert "/no/such/folder/bus.db: No such file or directory" in error
    assert "never awaited" not in done.err


async def test_a_process_leads_each_of_its_buses(desk: Desk) -> None:
    with_a_second_bus(desk, "{sqlite: {path: other.db}}")
    port = free_port()
    async with desk.running("run", "--metrics-bind-address", f"127.0.0.1:{port}") as run:
        await desk.create("first")
        await run.until('(?s)"name":"first".*"name":"first"', out=True)
        assert {line["name"] for line in run.lines("bus") if line["event"] == "bus"} == {"default", "other"}
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
    for name in ("default", "other"):
        assert f'kubecdc_leader{{bus="{name}"}} 1.0' in text
        assert f'kubecdc_bus_up{{bus="{name}"}} 1.0' in text
