"""The times at which half-met conditions are forgotten: ``conditionsReset`` by cron."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


class BadSchedule(ValueError):
    """The cron expression is not one, or the zone is not known."""


class Schedule:
    """A cron expression of five fields in a time zone, an IANA name. Raises BadSchedule."""

    def __init__(self, cron: str, zone: str = "") -> None:
        if len(cron.split()) != 5:
            raise BadSchedule(f"{cron!r} is not a cron expression of five fields; write it like `0 * * * *`")
        try:
            self._zone = ZoneInfo(zone or "UTC")
        except (ValueError, OSError) as e:  # a name that is not found is a KeyError
            raise BadSchedule(f"{zone!r} is not a time zone; write it like `Europe/Berlin`") from e
        except KeyError:
            raise BadSchedule(f"{zone!r} is not a time zone; write it like `Europe/Berlin`") from None
        self._cron = cron
        try:
            self._after(datetime.now(self._zone))
        except (CronSimError, StopIteration):
            raise BadSchedule(f"{cron!r} is not a cron expression; write it like `0 * * * *`") from None

    def around(self, now: float) -> tuple[float, float]:
        """The last time at or before ``now``, and the first after it, in seconds since 1970."""
        moment = datetime.fromtimestamp(now, self._zone)
        return self._before(moment), self._after(moment)

    def _after(self, moment: datetime) -> float:
        return next(CronSim(self._cron, moment)).timestamp()

    def _before(self, moment: datetime) -> float:
        if moment.second == moment.microsecond == 0:
            moment = datetime.fromtimestamp(moment.timestamp() + 60, self._zone)  # it looks before a minute
        return next(CronSim(self._cron, moment, reverse=True)).timestamp()


class Resets:
    """Several schedules together."""

    def __init__(self, schedules: Sequence[Schedule] = ()) -> None:
        self._schedules = schedules
        self._from, self._until = 1.0, 0.0  # between two resets: `last` is the same all the time
        self._last = float("-inf")

    def last(self, now: float) -> float:
        """The last reset at or before ``now``, in seconds since 1970; minus infinity if there is none."""
        if self._schedules and not self._from <= now < self._until:
            around = [schedule.around(now) for schedule in self._schedules]
            self._last = self._from = max(before for before, _ in around)
            self._until = min(after for _, after in around)
        return self._last
