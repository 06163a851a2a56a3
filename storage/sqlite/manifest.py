"""SQLite as an EventBus manifest writes it: the bus, and the checkpoint of another bus."""

from __future__ import annotations

from pydantic import Field

from kubecdc.manifest.model import Model


class Sqlite(Model):
    """The embedded bus: one file, shared by the processes of one machine."""

    path: str = Field(min_length=1)


class SqliteCheckpoint(Model):
    """A file for the checkpoint. On a ``sqlite`` bus ``path`` is that of the bus, or left out."""

    path: str | None = Field(None, min_length=1)
