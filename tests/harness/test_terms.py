"""Two that lead at once are found, whichever way they betray themselves."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.harness.terms import Committed, Taken, quarrels, terms

ONE, OTHER = "host/11/aa", "host/22/bb"
TAKEN = [Taken("10", 1, ONE), Taken("20", 2, OTHER), Taken("30", 4, ONE)]


def committed(*epochs: int) -> list[Committed]:
    return [Committed(seq, seq % 2, f"e-{seq}", f"k-{seq}", epoch) for seq, epoch in enumerate(epochs)]


def test_one_after_the_other_is_no_quarrel() -> None:
    assert quarrels(TAKEN, committed(1, 1, 2, 4, 4)) == []


@pytest.mark.parametrize(
    ("taken", "events", "what"),
    [
        ([*TAKEN, Taken("40", 4, OTHER)], committed(1, 2, 4), "epoch 4 was taken by"),
        ([*TAKEN, Taken("40", 3, OTHER), Taken("50", 3, OTHER)], committed(1), "took epoch 3 after 3"),
        (TAKEN, committed(1, 3), "an epoch that nobody took"),
        (TAKEN, committed(1, 2, 1, 2), "was committed after"),
        (TAKEN, [*committed(1, 1), Committed(9, 1, "e-1", "k-1", 2)], "is the same as"),
    ],
)
def test_a_quarrel_is_found(taken: list[Taken], events: list[Committed], what: str) -> None:
    assert any(what in found for found in quarrels(taken, events))


def test_who_took_the_lease_is_read_from_the_logs(tmp_path: Path) -> None:
    logs = []
    for number, taken in enumerate(TAKEN):
        logs.append(tmp_path / f"{number}.log")
        line = {"event": "lease taken", "timestamp": taken.time, "term": taken.epoch, "holder": taken.holder}
        logs[-1].write_bytes(b'{"event": "bus"}\nno json\n' + msgspec.json.encode(line) + b"\n")
    assert terms(reversed(logs)) == TAKEN
    assert TAKEN[0].pid == 11
