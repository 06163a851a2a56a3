"""docs/conformance.md has every case of the suite, and no case that failed."""

from __future__ import annotations

from kubecdc.storage.testing import CASES
from tests import conformance


def test_the_page_is_of_the_suite_as_it_is() -> None:
    cells = conformance.parse(conformance.PAGE.read_text())
    assert {case for case, _ in cells} == {case.name for case in CASES}, "run `make conformance`"
    assert conformance.FAILED not in cells.values()


def test_a_page_is_read_as_it_was_written() -> None:
    cells = {("one_case", "A"): conformance.PASSED, ("other", "A"): "the emulator errs: x"}
    cells[("other", "B")] = conformance.PASSED
    page = conformance.render(cells, ["one_case", "other"])
    assert conformance.parse(page) == cells
    assert "1. the emulator errs: x" in page
