"""How often something is tried, and the pauses in between. Argo Events calls it Backoff."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from kubecdc.manifest import units
from kubecdc.manifest.fields import invalid
from kubecdc.manifest.model import Model

DEFAULT_STEPS = 5  # without `steps`, as in Argo


def _go_duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise invalid("must be a duration such as 10s, or a whole number of nanoseconds")
    try:
        length = units.nanoseconds(value) if isinstance(value, int) else units.duration(value)
    except ValueError as e:
        raise invalid(str(e), "write it like 500ms, 10s or 1m") from e
    if length < timedelta():
        raise invalid("must not be below 0")
    return length


class RetryStrategy(Model):
    """Tries: ``steps`` in all, ``duration * factor**i`` apart, plus up to ``jitter`` of that."""

    steps: int = Field(DEFAULT_STEPS, ge=0)
    duration: Annotated[timedelta, BeforeValidator(_go_duration)] = timedelta(seconds=1)
    factor: float = Field(1.0, ge=0, allow_inf_nan=False)
    jitter: float = Field(1.0, ge=0, allow_inf_nan=False)

    @field_validator("steps")
    @classmethod
    def _default(cls, value: int) -> int:
        return value or DEFAULT_STEPS
