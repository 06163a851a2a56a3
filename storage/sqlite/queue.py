"""The EventBus type ``sqlite``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from kubecdc.manifest.model import Model
from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.location import identity, located
from kubecdc.storage.sqlite.manifest import Sqlite, SqliteCheckpoint


class SqliteQueue(QueueType[Sqlite]):
    """One file, shared by the processes of one machine; the lock of a file elects the leader."""

    model = Sqlite
    example = "{path: ./kubecdc.db}"
    holds_checkpoint = True
    elects_alone = True
    default: ClassVar[Mapping[str, Any]] = {"path": "./kubecdc.db"}

    def place(self, spec: Sqlite) -> str:
        return str(Path(spec.path).absolute())

    def store(self, spec: Sqlite, bus: str) -> str:
        return identity(spec.path)

    def same_place(self, spec: Sqlite, store: Model) -> bool:
        return isinstance(store, SqliteCheckpoint) and store.path in {None, spec.path}

    async def open(self, spec: Sqlite, settings: BusSettings, opening: Opening) -> Bus:
        given = SqliteSettings(
            path=located(spec.path, opening, "there is no bus"),
            ack_wait=settings.ack_wait,
            retention=settings.retention,
            retention_bytes=settings.retention_bytes,
            max_pending=settings.max_pending,
        )
        return await open_bus(given, holder=opening.holder)
