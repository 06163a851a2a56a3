"""EventSources and Sensors of one name in two namespaces, on one bus."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import SENSOR, SOURCE, Desk


def team(desk: Desk, namespace: str, called: str = "") -> None:
    """The EventSource `workflows` and the Sensor `print` of a namespace, for the Workflows in it."""
    source, sensor = yaml.safe_load(SOURCE), yaml.safe_load(SENSOR)
    source["spec"]["resource"]["changed"]["namespace"] = namespace
    for manifest in (source, sensor):
        manifest["metadata"]["namespace"] = namespace
        if called:
            manifest["metadata"]["annotations"] = {"kubecdc.io/name": f"{called}.{manifest['metadata']['name']}"}
    if called:
        sensor["spec"]["dependencies"][0]["eventSourceName"] = f"{called}.workflows"
    desk.write(f"{namespace}.yaml", yaml.safe_dump_all([source, sensor]))


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk without manifests, and namespaces for two teams."""
    for name in ("source.yaml", "sensor.yaml"):
        (desk.manifests / name).unlink()
    await desk.api.make_namespaces("a", "b")
    return desk


async def create(desk: Desk, namespace: str, name: str) -> None:
    await desk.api.create(*WORKFLOWS, namespace, workflow(name))


def delivered(out: str) -> list[tuple[str, str, str]]:
    """What the `log` triggers wrote: Sensor, source, and the name of the object."""
    lines = [msgspec.json.decode(line, type=dict[str, Any]) for line in out.splitlines()]
    return [(line["sensor"], line["eventContext"]["source"], line["event"].split("/")[-1]) for line in lines]


async def test_a_namesake_that_comes_later_leaves_the_first_where_it_was(desk: Desk) -> None:
    """What was stored for one alone is found again beside the other, and by each when the other goes."""
    team(desk, "a")
    await create(desk, "a", "one")
    async with desk.running("run", "--no-leader-election") as alone:
        await alone.until('"name":"one"', out=True)
        before = await desk.rows("checkpoint", "show")
    assert delivered(alone.out) == [("print", "workflows", "one")]
    team(desk, "b", called="b")
    await create(desk, "a", "two")
    await create(desk, "b", "three")
    async with desk.running("watch", "--no-leader-election"), desk.running("work") as work:
        await work.until('(?s)(?=.*"name":"two").*"name":"three"', out=True)
        rows = await desk.rows("checkpoint", "show")
    assert sorted(delivered(work.out)) == [("b.print", "b.workflows", "three"), ("print", "workflows", "two")]
    assert [row["key"] for row in before] == ["workflows/changed"]
    assert [row["key"] for row in rows] == ["b.workflows/changed", "workflows/changed"]
    (desk.manifests / "a.yaml").unlink()
    await create(desk, "b", "four")
    async with desk.running("run", "--no-leader-election") as last:
        await last.until('"name":"four"', out=True)
    assert delivered(last.out) == [("b.print", "b.workflows", "four")]


async def test_a_namesake_can_come_while_the_process_runs(desk: Desk) -> None:
    team(desk, "a")
    await create(desk, "a", "one")
    async with desk.running("run", "--no-leader-election") as run:
        await run.until('"name":"one"', out=True)
        team(desk, "b")
        await run.until("is also the name of one in namespace a")
        team(desk, "b", called="b")
        await create(desk, "b", "two")
        await run.until('"name":"two"', out=True)
    assert delivered(run.out) == [("print", "workflows", "one"), ("b.print", "b.workflows", "two")]


async def test_validate_says_what_to_write(desk: Desk) -> None:
    team(desk, "a")
    team(desk, "b")
    done = await desk.call("validate")
    assert done.code == 2
    assert "annotation `kubecdc.io/name: b.workflows`" in done.err
    assert "annotation `kubecdc.io/name: b.print`" in done.err
    team(desk, "b", called="b")
    assert (await desk.call("validate")).code == 0
