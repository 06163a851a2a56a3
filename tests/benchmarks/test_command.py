"""``python -m benchmarks``, as `make bench` runs it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from benchmarks.figure import Definition, Figure, Target, table
from benchmarks.suite import NAMES

ROOT = Path(__file__).resolve().parents[2]
QUICK = "watch_commit_sqlite_workflow"


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of the file; every field is required."""

    name: str
    unit: str
    ours: float
    bare: float
    ratio: float
    target: str
    met: bool


@dataclass
class Done:
    code: int
    out: str
    err: str


async def bench(*args: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks", *args, cwd=ROOT, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.long
async def test_one_figure_is_measured_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    done = await bench("--quick", "--only", QUICK, "--out", str(path))
    assert done.code == 0, done.err
    (record,) = msgspec.json.decode(path.read_bytes(), type=list[Record])
    assert record.name == QUICK
    assert record.ours > 0 and record.bare > 0 and record.ratio > 0
    assert QUICK in done.out and record.target in done.out


async def test_a_name_that_is_not_there_is_a_usage_error_and_says_which_there_are() -> None:
    done = await bench("--only", f"{QUICK},nonsense")
    assert done.code == 2
    assert "nonsense" in done.err and all(name in done.err for name in NAMES)
    assert "Traceback" not in done.err


def test_a_figure_is_the_median_and_its_target_may_bound_either_number() -> None:
    runs = [(10.0, 4.0), (30.0, 6.0), (20.0, 5.0)]
    ratio = Figure.of(Definition("a", "events/s", Target(4, at_least=True, of_ratio=True), "a loop"), runs)
    own = Figure.of(Definition("b", "ms", Target(19, at_least=False), "a loop"), runs)
    assert (ratio.ours, ratio.bare, ratio.ratio, ratio.met) == (20.0, 5.0, 4.0, True)
    assert not own.met
    assert [str(figure.definition.target) for figure in (ratio, own)] == [">= 4x", "<= 19"]
    assert table([ratio, own]).splitlines()[2].split()[:2] == ["b", "ms"]
