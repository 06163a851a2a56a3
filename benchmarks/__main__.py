"""``python -m benchmarks``: measure, print a table, write build/bench.json."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from benchmarks.figure import Figure, table
from benchmarks.suite import NAMES, QUICK, Size, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAME,...", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--runs", type=int, default=Size.runs, help="the figure is their median (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="show that it works: the figures mean nothing")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="(%(default)s)")
    args = parser.parse_args()
    names = [name for name in args.only.split(",") if name] or list(NAMES)
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    size = QUICK if args.quick else Size(runs=args.runs)
    missing: dict[str, str] = {}
    figures = asyncio.run(run(names, size, _say, missing.__setitem__))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(msgspec.json.format(msgspec.json.encode([figure.record() for figure in figures])))
    print(table(figures))
    for name, why in missing.items():
        print(f"{name} is left out: {why}")
    return 0


def _say(figure: Figure) -> None:
    print(f"{figure.definition.name}: {figure.ours:,.3f} {figure.definition.unit}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
