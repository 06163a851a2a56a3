"""The ``sqlite`` bus as an EventBus manifest writes it."""

from __future__ import annotations

from pydantic import Field

from kubecdc.manifest.model import Model


class Sqlite(Model):
    """The embedded bus: one file, shared by the processes of one machine."""

    path: str = Field(min_length=1)
