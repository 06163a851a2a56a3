"""What an operator reads of trouble: its beginning and its end, each once."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts.errors import BusFull
from kubecdc.watcher import ongoing_problems
from kubecdc.watcher.ongoing_problems import OngoingProblems
from tests.harness.processes import until


async def test_trouble_that_comes_back_at_once_is_said_once_and_over_when_it_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ongoing_problems, "CALM", 0.05)
    known = OngoingProblems()
    with capture_logs() as logged:
        for pending in range(1000, 1010):  # workers catch up, and each time one commit goes through
            known.report("a", BusFull("print/line", pending, 1000), code="capture-failing")
            known.resolve("a")
            known.resolve("a")
        await until(lambda: len(logged) >= 2, 10, "the end")
        known.resolve("a")
    assert [line["log_level"] for line in logged] == ["warning", "info"]
    assert "maxPending" in logged[0]["hint"]
    assert [line["code"] for line in logged] == ["capture-failing", "recovered"]
    assert logged[1]["was"] == logged[0]["event"]


async def test_another_trouble_is_said_and_what_two_suffer_from_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ongoing_problems, "CALM", 0.05)
    known = OngoingProblems()
    with capture_logs() as logged:
        known.report("a", Unavailable("the bus is away"), code="capture-failing")
        known.report("b", Unavailable("the bus is away"), code="capture-failing")
        known.report("a", Unavailable("the bus is full"), code="capture-failing")
        known.resolve("a")
        known.resolve("b")
        await until(lambda: len(logged) >= 4, 10, "both ends")
    assert [line["event"] for line in logged] == ["the bus is away", "the bus is full", "recovered", "recovered"]


def test_trouble_of_what_has_ended_is_said_again_of_another() -> None:
    known = OngoingProblems()
    with capture_logs() as logged:
        known.report("a", Unavailable("the bus is away"), code="capture-failing")
        known.forget("a")
        known.report("b", Unavailable("the bus is away"), code="capture-failing")
        known.forget("never reported")
    assert [line["watch"] for line in logged] == ["a", "b"]
