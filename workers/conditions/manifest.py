"""The conditions of a trigger, as a manifest writes them.

``conditionsKey`` and ``conditionsTTL`` are not in Argo Events.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from kubecdc.manifest.fields import Duration, Items, ReadPath, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.conditions.expression import BadConditions, Expression, parse
from kubecdc.workers.conditions.resets import BadSchedule, Resets, Schedule

ANY = "*"  # dependency, as a key of `conditionsKey`


class ByTime(Model):
    """When half-met conditions are forgotten: a cron expression of five fields, in an IANA time zone (UTC)."""

    cron: str
    timezone: str = ""

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            Schedule(self.cron, self.timezone)
        except BadSchedule as e:
            raise invalid(str(e)) from e
        return self


class ConditionsReset(Model):
    by_time: ByTime


class Conditions(Model):
    """Which dependencies must be met. Without ``conditions``, all of the Sensor's."""

    conditions: str = ""
    conditions_reset: Items[ConditionsReset] = ()
    conditions_key: Annotated[
        dict[str, ReadPath], BeforeValidator(lambda value: {ANY: value} if isinstance(value, str) else value)
    ] = Field(default_factory=dict)
    conditions_ttl: Duration = Field(timedelta(days=1), alias="conditionsTTL")

    @field_validator("conditions")
    @classmethod
    def _readable(cls, value: str) -> str:
        if value.strip():
            try:
                parse(value)
            except BadConditions as e:
                raise invalid(str(e)) from e
        return value

    @field_validator("conditions_ttl")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=1):
            raise invalid("must be a second or more")
        return value

    def expression(self, dependencies: Collection[str]) -> Expression:
        """What must be met, of the dependencies with these names."""
        return parse(self.conditions) if self.conditions.strip() else Expression.all_of(dependencies)

    @property
    def resets(self) -> Resets:
        """When half-met conditions are forgotten."""
        return Resets([Schedule(reset.by_time.cron, reset.by_time.timezone) for reset in self.conditions_reset])

    def key_path(self, dependency: str) -> str:
        """The path of the key in the events of a dependency; "" if they have none."""
        return self.conditions_key.get(dependency) or self.conditions_key.get(ANY, "")
