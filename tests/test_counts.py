"""Numbers in messages."""

from __future__ import annotations

import pytest

from kubecdc.counts import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 events"), (1, "1 event"), (2, "2 events"), (1_000_000, "1000000 events")]
)
def test_a_noun_is_in_the_singular_for_one_alone(number: int, text: str) -> None:
    assert counted(number, "event") == text


def test_the_plural_may_be_another() -> None:
    assert counted(1, "watcher stands by", "watchers stand by") == "1 watcher stands by"
    assert counted(2, "watcher stands by", "watchers stand by") == "2 watchers stand by"
