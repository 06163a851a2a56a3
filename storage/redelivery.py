"""When an event is delivered again, and when it is given up: `redelivery` of the EventBus manifest."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.backoff import Backoff
from kubecdc.manifest.fields import Duration, invalid
from kubecdc.manifest.model import Model


class RedeliveryBackoff(Model):
    """The delay before an event is delivered again that a trigger could not handle."""

    duration: Duration = timedelta(seconds=1)
    factor: float = Field(2.0, ge=1, allow_inf_nan=False)
    cap: Duration = timedelta(minutes=5)
    jitter: float = Field(0.2, ge=0, le=1)

    @field_validator("duration")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta():
            raise invalid("must be above 0")
        return value

    @field_validator("cap")
    @classmethod
    def _above_duration(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        if value < info.data.get("duration", value):
            raise invalid("must not be below `duration`")
        return value

    def schedule(self) -> Backoff:
        """The `Backoff` with these values."""
        return Backoff(self.duration.total_seconds(), self.factor, self.cap.total_seconds(), self.jitter)


class Redelivery(Model):
    """When an event is delivered again: after a failure, or if its worker shows no sign of life for ``ack_wait``.

    ``max_deliveries`` 0: it is never given up for its attempts. ``give_up_after`` its capture, it is given up if it
    fails, or if its trigger fails for all events.
    """

    ack_wait: Duration = timedelta(seconds=30)
    max_deliveries: int = Field(20, ge=0)
    give_up_after: Duration | None = None
    backoff: RedeliveryBackoff = RedeliveryBackoff()

    @field_validator("ack_wait")
    @classmethod
    def _bound(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=1):
            raise invalid("must be at least 1s")
        return value

    @field_validator("give_up_after")
    @classmethod
    def _some_time(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value <= timedelta():
            raise invalid("must be above 0", "leave it out so that no event is given up because of its age")
        return value
