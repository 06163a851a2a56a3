"""What only one Python runs is there: a place that was renamed would run on all again, and nobody would notice."""

from __future__ import annotations

import re
from pathlib import Path

from tests.once import PATHS, SERVERS

TESTS = Path(__file__).parent


def test_each_place_exists() -> None:
    assert [place for place in PATHS if not (TESTS.parent / place).exists()] == []


def test_each_server_is_a_fixture() -> None:
    fixtures = {
        name
        for file in TESTS.rglob("conftest.py")
        for name in re.findall(r"^def (\w+)", file.read_text(), re.MULTILINE)
    }
    assert SERVERS.keys() <= fixtures
