"""The checkpoint store ``sqlite``."""

from __future__ import annotations

from kubecdc.storage.contracts.types import Opening, Store, StoreType
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.location import identity, located
from kubecdc.storage.sqlite.manifest import SqliteCheckpoint


class SqliteStore(StoreType[SqliteCheckpoint]):
    """A file like that of a bus, of which only checkpoints, state and election are used."""

    model = SqliteCheckpoint
    example = "{path: ./checkpoints.db}"
    elsewhere = "another file than the bus"
    frequent = True
    elects_alone = True

    def incomplete(self, spec: SqliteCheckpoint) -> str:
        return "" if spec.path else "path"

    def store(self, spec: SqliteCheckpoint, bus: str) -> str:
        return identity(spec.path or "")

    async def open(self, spec: SqliteCheckpoint, bus: str, opening: Opening) -> Store:
        path = located(spec.path or "", opening, "there are no checkpoints")
        return await open_bus(SqliteSettings(path=path), holder=opening.holder)
