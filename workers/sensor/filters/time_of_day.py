"""``time``: the event's time, as clocks in a time zone show it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo

from kubecdc.workers.sensor.filters.logic import FilterError

_CLOCK = re.compile(r"\d\d?:\d\d:\d\d", re.ASCII)
_NAME = re.compile(r"[A-Za-z][\w+-]*(/[A-Za-z][\w+-]*)*", re.ASCII)


def clock(text: str) -> time:
    """A time of day, ``HH:MM:SS``. Raises ValueError."""
    try:
        return time.fromisoformat(text.zfill(8) if _CLOCK.fullmatch(text) else "")
    except ValueError:
        raise ValueError(f"{text[:100]!r} is not a time of day") from None


def zone(name: str) -> tzinfo:
    """A time zone by its IANA name, UTC without one. Raises ValueError."""
    if not name:
        return UTC
    try:
        if _NAME.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # there is no such file, or it is another one
        pass
    raise ValueError(f"{name[:100]!r} is not a time zone")


def within(start: str, stop: str, timezone: str) -> Callable[[str], bool]:
    """What tells whether a time (RFC 3339) is from ``start`` on and before ``stop``, which may be the next day's.

    It raises FilterError for what is no time.
    """
    begin, end, where = clock(start), clock(stop), zone(timezone)

    def accepts(when: str) -> bool:
        try:
            found = datetime.fromisoformat(when)
            now = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(where).time()
        except (ValueError, OverflowError) as e:
            raise FilterError(f"the event's time {when[:100]!r} is not a time") from e
        return begin <= now < end if begin < end else now >= begin or now < end

    return accepts
