"""What jq and Lua cost: ``python -m benchmarks.scripts EVENTS``.

Programs run for events of 6 KB out of the memory of one process, as a worker has them run, and beside it the same
libraries in a child that does nothing else.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from benchmarks.bus import event
from benchmarks.stage import staged
from kubecdc.workers.scripts.program import Program
from kubecdc.workers.scripts.runner import Scripts

PROGRAMS = {
    "jq": Program(
        "jq", '{name: .body.metadata.name, failed: [.body.status.nodes[] | select(.phase == "Failed") | .id]}'
    ),
    "lua": Program("filter", 'return event.body.status.phase == "Running"'),
}
ROUNDS = 5  # of both sides, one after the other; the median counts
LANES = 64


async def scripts(events: int) -> dict[str, tuple[float, float]]:
    """By language: microseconds of CPU for each event, of the worker and its child; and of the bare ones."""
    with staged(redis=False) as stage:
        argv = [sys.executable, "-m", "benchmarks.scripts", str(events)]
        found = await stage.programs.start("scripts", argv, piped=True).decoded()
    return {name: (found[name], found[f"bare_{name}"]) for name in PROGRAMS}


def _cpu(pids: Iterable[int]) -> float:
    """Microseconds that this process and others have used (Linux)."""
    used = (int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids)
    return time.process_time() * 1e6 + sum(used) / 1e3


async def _cost(runner: Scripts, program: Program, data: Sequence[bytes]) -> float:
    await runner.run(program, data[0])
    left = iter(data)

    async def lane() -> None:
        for one in left:
            await runner.run(program, one)

    begun = _cpu(runner.pids)
    await asyncio.gather(*(lane() for _ in range(LANES)))
    return (_cpu(runner.pids) - begun) / len(data)


class Bare:
    """A child that runs one program, and is sent a line for each event."""

    def __init__(self, language: str) -> None:
        argv = [sys.executable, "-m", "benchmarks.bare.scripts", language, PROGRAMS[language].text]
        self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def cost(self, data: Sequence[bytes]) -> float:
        self._ask(data[0])
        begun = _cpu([self._child.pid])
        for one in data:
            self._ask(one)
        return (_cpu([self._child.pid]) - begun) / len(data)

    def _ask(self, data: bytes) -> bytes:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(data + b"\n")
        self._child.stdin.flush()
        return self._child.stdout.readline()

    def close(self) -> None:
        self._child.communicate()


async def main(count: int) -> None:
    data = [bytes(event(number, number).data) for number in range(count)]
    found: dict[str, float] = {}
    async with Scripts() as runner:
        for language, program in PROGRAMS.items():
            bare = Bare(language)
            runs = [(await _cost(runner, program, data), bare.cost(data)) for _ in range(ROUNDS)]
            bare.close()
            found[language], found[f"bare_{language}"] = (median(side) for side in zip(*runs, strict=True))
    print(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
