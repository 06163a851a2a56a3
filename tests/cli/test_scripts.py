"""The process that runs programs, in a command as users start it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.rig import SENSOR, Desk
from tests.cli.started import LOOPS, Started, as_pid_1
from tests.harness.processes import until

TRANSFORM = "eventName: changed, transform: {script: 'return {name = event.body.metadata.name}'}"


def child_of(pid: int) -> int | None:
    """The process that runs programs for another one."""
    for found in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(found.read_text().rpartition(") ")[2].split()[1]) == pid:
                return int(found.parent.name)
        except OSError:
            continue
    return None


@pytest.mark.parametrize("loop", LOOPS)
async def test_as_pid_1_a_killed_one_is_replaced_and_none_is_left(loop: str, desk: Desk) -> None:
    desk.write("sensor.yaml", SENSOR.replace("eventName: changed", TRANSFORM))
    out = desk.folder / "out"
    with out.open("wb") as stdout:
        started = Started(
            desk.folder / "run", "run", "-f", str(desk.manifests), loop=loop, prefix=as_pid_1(), stdout=stdout,
            env={"KUBECONFIG": str(desk.kubeconfig)},
        )  # fmt: skip
    try:
        await started.caught()
        await desk.create("a")
        await until(lambda: '"data":{"name":"a"}' in out.read_text(), 60, "a line")
        first = child_of(started.pid)
        assert first
        os.kill(first, signal.SIGKILL)
        await desk.create("b")
        await until(lambda: '"data":{"name":"b"}' in out.read_text(), 60, "a line")
        second = child_of(started.pid)
        assert second not in (None, first)
        started.term()
        assert await started.end() == 0, started.err
        assert not Path(f"/proc/{second}").exists()
        assert "dead letter" not in started.err
    finally:
        started.kill()
