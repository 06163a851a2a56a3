"""``rateLimit`` of a trigger, as a manifest writes it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kubecdc.manifest.model import Model

_SECONDS = {"Second": 1.0, "Minute": 60.0, "Hour": 3600.0}


class RateLimit(Model):
    """The maximum rate at which the trigger runs."""

    unit: Literal["Second", "Minute", "Hour"] = "Second"
    requests_per_unit: int = Field(ge=1, le=1_000_000)

    @property
    def interval(self) -> float:
        """Seconds between two runs."""
        return _SECONDS[self.unit] / self.requests_per_unit
