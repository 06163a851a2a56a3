"""Manifests that change while the command runs, as a ConfigMap in a pod does: nothing is lost, nothing is repeated."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import msgspec
import pytest

from kubecdc.cli.reload.reloading import IN_USE, NOT_USED
from tests.apiserver import WORKFLOWS
from tests.cli.rig import SENSOR, SOURCE, Desk, Running
from tests.harness.mounted import Mounted

OTHER = SENSOR.replace("name: print", "name: second")
EMBEDDED = """\
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {sqlite: {path: kubecdc.db}}
"""


FILES = {"source.yaml": SOURCE, "sensor.yaml": SENSOR, "bus.yaml": EMBEDDED}


def printed(kubecdc: Running) -> list[str]:
    """What the triggers have printed: `<sensor> <type> <object>`."""
    lines = [msgspec.json.decode(line) for line in kubecdc.out.splitlines()]
    return [f"{line['sensor']} {line['data']['type']} {line['event'].rpartition('/')[2]}" for line in lines]


async def status(desk: Desk) -> list[dict[str, Any]]:
    """What `kubecdc status` says once the process has told of its manifests."""
    async with asyncio.timeout(60):
        while True:
            done = await desk.call("status", "-o", "json")
            rows = msgspec.json.decode(done.out, type=list[dict[str, Any]])
            if any(row["kind"] == "process" for row in rows):
                return rows


@pytest.mark.long
async def test_entries_and_triggers_come_change_and_go_without_a_restart(desk: Desk) -> None:
    folder = Mounted(desk.folder / "mounted", FILES)
    desk.manifests = folder.path
    async with desk.running("run") as kubecdc:

        def swap(**files: str) -> None:
            folder.swap(FILES | {f"{name}.yaml": text for name, text in files.items()})
            kubecdc.process.send_signal(signal.SIGHUP)  # so that the test need not wait

        await kubecdc.until('"listed"')
        await desk.create("a")
        await kubecdc.until('print.*/a"', out=True)
        folder.swap({**FILES, "second.yaml": OTHER})
        await kubecdc.until(IN_USE)
        await desk.create("b")
        await kubecdc.until('second.*/b"', out=True)
        swap(second=OTHER, bad="kind: Sensor")
        await kubecdc.until(NOT_USED)
        await desk.create("c")
        await kubecdc.until('second.*/c"', out=True)
        (row,) = [row for row in await status(desk) if row["kind"] == "process"]
        assert row["verdict"] == "failing" and "manifests: the manifests have a problem" in row["cause"]
        swap(source=SOURCE.replace("ADD, UPDATE, DELETE", "ADD, DELETE"))
        await kubecdc.until('"entries_changed": ?\\["workflows/changed"\\]')
        await desk.api.delete(*WORKFLOWS, "default", "a")
        await kubecdc.until('DELETE.*/a"', out=True)
        swap(bus=EMBEDDED.replace("kubecdc.db", "other.db"))
        await kubecdc.until("spec.sqlite changed: that needs a restart")
        problem, restart = kubecdc.lines(NOT_USED)
        assert "bad.yaml" in str(problem["problems"]) and restart["hint"]
    told = [f"print ADD {name}" for name in "abc"] + ["print DELETE a"] + [f"second ADD {name}" for name in "bc"]
    assert sorted(printed(kubecdc)) == told


async def test_sighup_reads_them_at_once_and_alone_with_no_reload(desk: Desk) -> None:
    async with desk.running("run", "--no-reload") as kubecdc:
        await kubecdc.until('"listed"')
        desk.write("second.yaml", OTHER)
        await desk.create("a")
        await kubecdc.until('print.*/a"', out=True)
        assert not kubecdc.lines(IN_USE)
        kubecdc.process.send_signal(signal.SIGHUP)
        await kubecdc.until(IN_USE)
        await desk.create("b")
        await kubecdc.until('second.*/b"', out=True)
        assert kubecdc.lines(IN_USE)[0]["triggers_added"] == ["second/line"]
