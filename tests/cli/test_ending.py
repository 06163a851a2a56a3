"""The end of a process that is told to stop: as PID 1 too, from the first moment on, and if nothing in it responds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.rig import REDIS_BUS, SENSOR
from tests.cli.silent import silent_server
from tests.cli.started import LOOPS, Started, as_pid_1

Start = Callable[..., Started]
PROGRAM = """
import asyncio, time
import structlog
from kubecdc.cli import logs
from kubecdc.cli.ending import Stop
from kubecdc.errors import Refused, UsageError

async def main():
    logs.configure("json", "info", unread=True)
    stop = Stop()
    stop.listen()
    {first}
    structlog.get_logger().info("ready")
    {hangs}

{runner}(main())
"""
RUNNERS = {"uvloop": "import uvloop; uvloop.run", "asyncio": "asyncio.run"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    all_started: list[Started] = []

    def start(name: str, *args: str, **how: object) -> Started:
        all_started.append(Started(tmp_path / name, *args, **how))  # type: ignore[arg-type]
        return all_started[-1]

    yield start
    for started in all_started:
        started.kill()


@pytest.fixture
def pid_1() -> tuple[str, ...]:
    """The command that runs another as PID 1."""
    return as_pid_1() or pytest.skip("a PID namespace needs root, and Linux")


async def test_it_ends_though_its_loop_or_a_thread_hangs(start: Start) -> None:
    hangs = ("time.sleep(60)", "await asyncio.to_thread(time.sleep, 60)", "return")
    in_thread = "asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)"
    cases = [
        start(f"{number}-{loop}", program=PROGRAM.format(first=in_thread, hangs=hang, runner=RUNNERS[loop]))
        for number, hang in enumerate(hangs)
        for loop in LOOPS
    ]
    for started in cases:
        await started.until("ready")
        started.term()
    for started in cases:
        assert await started.end() == 0
        assert "what hangs is abandoned" in started.err


async def test_the_first_ctrl_c_says_what_it_waits_for_and_the_second_ends_at_once(start: Start) -> None:
    patient = "from kubecdc.cli import ending; ending.SECONDS = 60"
    started = start("hangs", program=PROGRAM.format(first=patient, hangs="time.sleep(60)", runner=RUNNERS["uvloop"]))
    await started.until("ready")
    started.term(signal.SIGINT)
    await started.until("stopping once all work in flight is settled or returned")
    await started.until("press Ctrl-C again to end at once")
    started.term(signal.SIGINT)
    assert await started.end() == 130
    assert "abandoned" not in started.err


@pytest.mark.long
async def test_what_hangs_does_not_hide_why_it_had_to_stop(start: Start) -> None:
    for error, code in (("Refused", 1), ("UsageError", 2)):
        first = f"stop.tell({error}('the first failure', hint='do this')); stop.tell({error}('the second'))"
        started = start(error, program=PROGRAM.format(first=first, hangs="time.sleep(60)", runner=RUNNERS["uvloop"]))
        await started.until("ready")
        started.term()
        assert await started.end() == code
        assert "kubecdc: the first failure\n  hint: do this\n" in started.err
        assert "the second" not in started.err


async def test_pid_1_ends_from_the_first_moment_on(start: Start, tmp_path: Path, pid_1: tuple[str, ...]) -> None:
    fifo = tmp_path / "manifests.yaml"
    os.mkfifo(fifo)  # the process reads it before anything else, and there is no end to that
    started = start("pid-1", "work", "-f", str(fifo), prefix=pid_1)
    await started.caught()
    started.term()
    assert await started.end() == 143
    assert "kubecdc starts" not in started.err


async def test_pid_1_ends_while_it_waits_for_its_bus(start: Start, tmp_path: Path, pid_1: tuple[str, ...]) -> None:
    async with silent_server() as redis:
        manifests = tmp_path / "manifests.yaml"
        manifests.write_text(REDIS_BUS.format(url=f"redis://127.0.0.1:{redis.port}/0") + "---\n" + SENSOR)
        started = start("pid-1", "work", "-f", str(manifests), prefix=pid_1)
        await started.caught()
        await redis.reached()
        started.term()
        assert await started.end() == 0
        assert "stopped" in started.err
