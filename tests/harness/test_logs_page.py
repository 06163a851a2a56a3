"""docs/logs.md has every code of the log lines that the code writes, at the right level, and no other."""

from __future__ import annotations

import re

from tests import log_codes

CODES, WITHOUT = log_codes.written()
PAGE = log_codes.documented()


def test_every_line_has_a_code() -> None:
    assert WITHOUT == []
    assert len(CODES) > 60
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in CODES)


def test_every_code_that_is_written_is_on_the_page_with_its_levels() -> None:
    assert {code: levels for code, (levels, _, _) in PAGE.items()} == CODES


def test_every_code_has_a_meaning_and_trouble_has_something_to_do() -> None:
    passing = {"lease-unreleased", "checkpoint-unwritten", "deliveries-unsettled", "job-lost", "job-unwanted"}
    for code, (levels, meaning, action) in PAGE.items():
        assert meaning.endswith("."), code
        assert action or not levels & {"warning", "error"} or code in passing, f"{code}: what to do?"
