"""docs/faults.md: each known fault has a test that exists, or says what it waits for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line
    for line in (ROOT / "docs/faults.md").read_text().splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| what goes wrong"))
]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`([\w/]+\.py::\w+)`", row)})


@pytest.mark.parametrize("name", NAMED)
def test_every_test_that_is_named_exists(name: str) -> None:
    path, _, function = name.partition("::")
    text = (ROOT / path).read_text()
    assert re.search(rf"^(async )?def {function}[(]", text, re.MULTILINE), name


def test_every_fault_names_a_test_or_what_it_waits_for() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        caught_by = row.strip("|").split("|")[2]
        assert re.search(r"\.py::|waits for", caught_by), row


def test_every_row_of_the_argo_table_is_on_the_page() -> None:
    tests = re.findall(r"^async def (test_\w+)", (ROOT / "tests/e2e/test_argo_table.py").read_text(), re.MULTILINE)
    assert len(tests) == 6
    for test in tests:
        assert f"tests/e2e/test_argo_table.py::{test}" in NAMED
