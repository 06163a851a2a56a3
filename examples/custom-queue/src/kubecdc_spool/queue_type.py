"""What the entry point names: the type, and its part of the manifest."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from kubecdc.errors import UsageError
from kubecdc.manifest.model import Model
from kubecdc.storage.contracts import Queue
from kubecdc.storage.contracts.types import BusSettings, Opening, QueueType


class Spool(Model):
    """``spec.spool`` of an EventBus."""

    path: str = Field(min_length=1)


class SpoolType(QueueType[Spool]):
    """A directory on a local disk, for the processes of one machine."""

    model = Spool
    example = "{path: ./spool}"

    def place(self, spec: Spool) -> str:
        return str(Path(spec.path).absolute())

    async def open(self, spec: Spool, settings: BusSettings, opening: Opening) -> Queue:
        from kubecdc_spool.queue import SpoolQueue  # imported where it is opened, as a queue with an SDK has to

        root = Path(self.place(spec))
        return SpoolQueue(_directory(root, create=opening.create), settings, opening.holder)


def _directory(root: Path, *, create: bool) -> Path:
    if create:
        root.mkdir(parents=True, exist_ok=True)
    elif not root.is_dir():
        raise UsageError(f"there is no spool at {root} yet", hint="start `kubecdc run`, `watch` or `work` first")
    return root
