"""The ``log`` trigger as a manifest writes it."""

from __future__ import annotations

from pydantic import Field

from kubecdc.manifest.model import Model


class Log(Model):
    """Writes the event to the log, at most once every ``interval_seconds``."""

    interval_seconds: int = Field(0, ge=0)
