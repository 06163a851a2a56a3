"""Filters on attributes of the event: context, and the time of day."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workers.filters.support import compiled, verdict


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"type": "resource"}, True),
        ({"type": "webhook"}, False),
        ({"type": "resourc"}, False),
        ({"source": "workflows", "subject": "changed", "datacontenttype": "application/json"}, True),
        ({"source": "workflows", "subject": "done"}, False),
        ({"datacontenttype": "text/plain"}, False),
        ({"type": "resource", "id": "another", "specversion": "0.3", "time": "never"}, True),  # not looked at
        ({"type": "resource", "source": ""}, True),
    ],
)
def test_attributes_are_compared_exactly(context: dict[str, str], expected: bool) -> None:
    assert verdict(compiled(context=context)).passes is expected


def test_what_a_context_asks_for_is_said() -> None:
    found = verdict(compiled(context={"type": "webhook", "subject": "changed"}))
    assert found.false == ["filters.context (type = webhook, subject = changed)"]


def at(when: str, start: str, stop: str, timezone: str = "") -> bool:
    found = verdict(compiled(time={"start": start, "stop": stop, "timezone": timezone}), time=when)
    assert found.errors == []
    return found.passes


@pytest.mark.parametrize(
    ("clock", "day", "night"),
    [
        ("00:00:00Z", False, True),
        ("08:29:59.999999Z", False, True),
        ("08:30:00Z", True, False),
        ("12:00:00.5Z", True, False),
        ("17:59:59.999999999Z", True, False),
        ("18:00:00Z", False, True),
        ("23:59:59Z", False, True),
        ("12:00:00+08:00", False, True),  # 04:00 UTC
        ("12:00:00", True, False),
    ],
)
def test_from_start_to_before_stop_perhaps_over_midnight(clock: str, day: bool, night: bool) -> None:
    assert at(f"2026-01-31T{clock}", "8:30:00", "18:00:00") is day
    assert at(f"2026-01-31T{clock}", "18:00:00", "08:30:00") is night


# The values of Argo's TestFilterTimeWithTimezone, and days on which clocks change.
@pytest.mark.parametrize(
    ("when", "start", "stop", "timezone", "expected"),
    [
        ("2024-07-15T10:00:00Z", "09:00:00", "17:00:00", "", True),
        ("2024-07-15T14:00:00Z", "09:00:00", "17:00:00", "America/New_York", True),
        ("2024-07-15T12:00:00Z", "09:00:00", "17:00:00", "America/New_York", False),
        ("2024-07-15T22:00:00Z", "09:00:00", "17:00:00", "America/New_York", False),
        ("2024-07-15T10:00:00Z", "10:00:00", "18:00:00", "Europe/London", True),
        ("2024-07-15T01:00:00Z", "09:00:00", "17:00:00", "Asia/Tokyo", True),
        ("2024-07-15T02:00:00Z", "22:00:00", "06:00:00", "America/New_York", True),
        ("2024-01-15T15:00:00Z", "09:00:00", "17:00:00", "America/New_York", True),
        ("2024-01-15T08:00:00Z", "09:00:00", "17:00:00", "Europe/Berlin", True),
        ("2024-07-15T07:00:00Z", "09:00:00", "17:00:00", "Europe/Berlin", True),
        ("2024-01-15T07:00:00Z", "09:00:00", "17:00:00", "Europe/Berlin", False),
        ("2024-10-27T00:30:00Z", "02:00:00", "03:00:00", "Europe/Berlin", True),  # 02:30 in summer
        ("2024-10-27T01:30:00Z", "02:00:00", "03:00:00", "Europe/Berlin", True),  # 02:30 in winter
        ("2024-03-31T00:59:59Z", "02:00:00", "03:00:00", "Europe/Berlin", False),  # 01:59:59, the next is 03:00:00
        ("2024-03-31T01:00:00Z", "02:00:00", "03:00:00", "Europe/Berlin", False),
        ("2024-07-15T12:00:00Z", "17:30:00", "17:31:00", "Asia/Kolkata", True),
        ("0001-01-01T00:00:00Z", "00:00:00", "12:00:00", "UTC", True),
    ],
)
def test_the_clock_is_that_of_the_zone(when: str, start: str, stop: str, timezone: str, expected: bool) -> None:
    assert at(when, start, stop, timezone) is expected


@pytest.mark.parametrize("when", ["", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_an_error_which_is_false(when: str) -> None:
    found = verdict(compiled(time={"start": "00:00:00", "stop": "23:59:59", "timezone": "America/New_York"}), time=when)
    assert (found.passes, found.errors) == (
        False,
        [f"filters.time (00:00:00 to 23:59:59 America/New_York): the event's time {when!r} is not a time"],
    )


@pytest.mark.parametrize("given", [{}, {"context": None}, {"time": None, "data": None}])
def test_kinds_that_are_null_are_not_there(given: dict[str, Any]) -> None:
    assert not compiled(**given).given
