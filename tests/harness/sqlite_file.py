"""The bus in a file, for stacks that need nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from kubecdc.storage.contracts import Bus
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from tests.harness.back_end import Election, Observed, observed
from tests.harness.kinds import Kind


class SqliteFile:
    """A file; whoever has locked it leads."""

    name = "sqlite"
    election: Election | None = None
    atomic = True
    ack_wait = 2.0
    faults: Collection[Kind] = frozenset()
    environment: Mapping[str, str] = {}
    proxy = None

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def manifest(self) -> Mapping[str, object]:
        return {"sqlite": {"path": str(self.path)}}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        """The bus, beside the processes that work on it; it is made if it is not there yet."""
        bus = await open_sqlite(SqliteSettings(self.path), holder="the test")
        try:
            yield bus
        finally:
            await bus.close()

    def copies(self) -> Mapping[str, int]:
        return {}

    def observed(self, kubeconfig: Path) -> AbstractAsyncContextManager[Observed]:
        return observed(self.open())
