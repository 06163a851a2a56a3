"""docs/faults.md: each known fault has a test that exists, or says what it waits for. docs/guarantees.md: so has each
promise. docs/connection.md: so has each field."""

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
PROMISES = (ROOT / "docs/guarantees.md").read_text()
CONNECTION = (ROOT / "docs/connection.md").read_text()
NAMED = sorted({name for text in (*ROWS, PROMISES, CONNECTION) for name in re.findall(r"`([\w/]+\.py::\w+)`", text)})


@pytest.mark.parametrize("name", NAMED)
def test_every_test_that_is_named_exists(name: str) -> None:
    path, _, function = name.partition("::")
    text = (ROOT / path).read_text()
    assert re.search(rf"^(async )?(def|class) {function}[(]", text, re.MULTILINE), name


def test_every_kind_of_promise_names_a_test() -> None:
    _, *sections = PROMISES.split("\n## ")
    assert len(sections) == 8
    for section in sections:
        assert re.search(r"\.py::", section), section.splitlines()[0]


def test_every_fault_names_a_test_or_what_it_waits_for() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        caught_by = row.strip("|").split("|")[2]
        assert re.search(r"\.py::|waits for", caught_by), row


def test_every_field_of_a_kubeconfig_and_variable_names_a_test() -> None:
    rows = [line for line in CONNECTION.splitlines() if re.match(r"\| (?!---|field|what|variable)", line)]
    assert len(rows) > 35
    for row in rows:
        assert re.search(r"\.py::|they configure parts of client-go that kubecdc does not have", row), row


def test_every_row_of_the_argo_table_is_on_the_page() -> None:
    tests = re.findall(r"^async def (test_\w+)", (ROOT / "tests/e2e/test_argo_table.py").read_text(), re.MULTILINE)
    assert len(tests) == 6
    for test in tests:
        assert f"tests/e2e/test_argo_table.py::{test}" in NAMED
