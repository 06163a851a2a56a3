"""When conditions are reset."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kubecdc.workers.conditions.resets import BadSchedule, Resets, Schedule


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "zone", "now", "last", "following"),
    [
        ("0 * * * *", "", "2026-11-28T10:30:00", "2026-11-28T10:00:00", "2026-11-28T11:00:00"),
        ("0 * * * *", "", "2026-11-28T10:00:00", "2026-11-28T10:00:00", "2026-11-28T11:00:00"),
        ("0 * * * *", "", "2026-11-28T10:00:00.5", "2026-11-28T10:00:00", "2026-11-28T11:00:00"),
        ("0 * * * *", "", "2026-11-28T09:59:59.5", "2026-11-28T09:00:00", "2026-11-28T10:00:00"),
        ("0 6 * * 1-5", "Europe/Berlin", "2026-11-29T12:00:00", "2026-11-27T05:00:00", "2026-11-30T05:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"),
    ],
)
def test_the_last_and_the_next_reset_are_those_of_the_zone(
    cron: str, zone: str, now: str, last: str, following: str
) -> None:
    assert Schedule(cron, zone).around(at(now)) == (at(last), at(following))


@pytest.mark.parametrize(
    ("cron", "zone", "message"),
    [
        ("@daily", "", "'@daily' is not a cron expression of five fields; write it like `0 * * * *`"),
        ("* * * * * *", "", "'* * * * * *' is not a cron expression of five fields; write it like `0 * * * *`"),
        ("61 * * * *", "", "'61 * * * *' is not a cron expression; write it like `0 * * * *`"),
        ("0 0 31 2 *", "", "'0 0 31 2 *' is not a cron expression; write it like `0 * * * *`"),
        ("0 * * * *", "Mars/North", "'Mars/North' is not a time zone; write it like `Europe/Berlin`"),
        ("0 * * * *", "../etc", "'../etc' is not a time zone; write it like `Europe/Berlin`"),
    ],
)
def test_what_is_no_schedule_is_said(cron: str, zone: str, message: str) -> None:
    with pytest.raises(BadSchedule) as raised:
        Schedule(cron, zone)
    assert str(raised.value) == message


def test_of_several_schedules_the_last_reset_counts() -> None:
    resets = Resets([Schedule("0 * * * *"), Schedule("30 12 * * *")])
    times = ["2026-11-28T12:29:59", "2026-11-28T12:30:00", "2026-11-28T13:00:01", "2026-11-28T12:10:00"]
    found = ["2026-11-28T12:00:00", "2026-11-28T12:30:00", "2026-11-28T13:00:00", "2026-11-28T12:00:00"]
    assert [resets.last(at(time)) for time in times] == [at(time) for time in found], "also if the clock is set back"


def test_without_a_schedule_there_was_no_reset() -> None:
    assert Resets().last(at("2026-11-28T12:00:00")) == float("-inf")
