"""Which back end passes which case of the conformance suite: ``make conformance``, or ``python -m tests.conformance``.

Runs the tests that are marked ``conformance``, prints the matrix, and writes it to docs/conformance.md. A back end that
could not be tested here keeps the column that the page has of it, and the output says so.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kubecdc.storage.testing import CASES

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
PASSED, FAILED, MISSING = "yes", "**no**", ""
HEAD = """# Conformance

The cases of the [conformance suite](../storage/testing) by back end, as run against a real server or an emulator of
it. `make conformance` writes this page. A number refers to the reason why a case does not apply: a capability that the
back end does not declare, or something that its emulator does not do as the service does.

"""


class Matrix:
    """A pytest plugin that notes what became of each case. ``cells``: by case and back end."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], str] = {}
        self.unavailable: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get("conformance")
        if not found:
            return
        back_end, case = str(found).split("\n")
        if report.failed:
            self.cells[case, back_end] = FAILED
        elif report.skipped:
            reason = _reason(report)
            if reason.startswith(EXCUSES):
                self.cells[case, back_end] = reason
            else:
                self.unavailable[back_end] = reason
        elif report.when == "call":
            self.cells[case, back_end] = PASSED


EXCUSES = ("the back end lacks the capability ", "the emulator ")


def _reason(report: pytest.TestReport) -> str:
    assert isinstance(report.longrepr, tuple)
    return report.longrepr[2].removeprefix("Skipped: ")


def render(cells: Mapping[tuple[str, str], str], cases: Sequence[str]) -> str:
    """The page: a row for each case, a column for each back end, and the reasons below."""
    back_ends = sorted({back_end for _, back_end in cells})
    reasons: dict[str, int] = {}
    lines = [
        "| case | " + " | ".join(back_ends) + " |",
        "|---|" + "---|" * len(back_ends),
    ]
    for case in cases:
        row = []
        for back_end in back_ends:
            cell = cells.get((case, back_end), MISSING)
            if cell not in {PASSED, FAILED, MISSING}:
                cell = f"[{reasons.setdefault(cell, len(reasons) + 1)}]"
            row.append(cell)
        lines.append(f"| {case.replace('_', ' ')} | " + " | ".join(row) + " |")
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return HEAD + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def parse(page: str) -> dict[tuple[str, str], str]:
    """The cells of a page that `render` made."""
    reasons = dict(re.findall(r"^(\d+)\. (.+)$", page, re.MULTILINE))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    if not rows:
        return {}
    (_, *back_ends), _, *body = rows
    return {
        (case.replace(" ", "_"), back_end): reasons.get(cell.strip("[]"), cell)
        for case, *row in body
        for back_end, cell in zip(back_ends, row, strict=True)
        if cell
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default="2", help="tests at a time")
    arguments = parser.parse_args()
    matrix = Matrix()
    code = pytest.main(["-q", "-m", "conformance", "-n", arguments.jobs, "tests/storage"], plugins=[matrix])
    cases = [case.name for case in CASES]
    known = parse(PAGE.read_text()) if PAGE.exists() else {}
    run = {back_end for _, back_end in matrix.cells}
    kept = {key: cell for key, cell in known.items() if key[1] not in run and key[0] in cases}
    page = render({**kept, **matrix.cells}, cases)
    print(page)
    for back_end in sorted({back_end for _, back_end in kept}):
        print(f"{back_end} was not tested here: {matrix.unavailable.get(back_end, 'no test has run')}")
    if code == 0:
        PAGE.write_text(page)
        print(f"written to {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
