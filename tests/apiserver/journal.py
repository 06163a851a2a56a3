"""Objects and counter on disk, so that they survive the process: one JSON line for each change, as etcd's log.

Every line is written before the change is answered. Nothing is synced: the file is for kills of the process, not of the
machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.apiserver.changes import Change
from tests.apiserver.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Record:
    """A change as it was written: group, version and plural of the kind, the type, and the object."""

    kind: tuple[str, str, str]
    type: str
    object: dict[str, Any]


class _Restored(msgspec.Struct):
    restored: Snapshot


class Journal:
    """An append-only file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)

    def write(self, change: Change) -> None:
        kind = change.kind
        head = msgspec.json.encode([kind.group, kind.version, kind.plural])
        self._file.write(b'{"kind":%s,"type":"%s","object":%s}\n' % (head, change.type.encode(), change.current.raw))

    def compact(self, version: int) -> None:
        """History up to the version is gone."""
        self._file.write(b'{"compacted":%d}\n' % version)

    def restore(self, snapshot: Snapshot) -> None:
        """What follows goes on from a backup; what came before stays, for the ledger."""
        self._file.write(b'{"restored":%s}\n' % msgspec.json.encode(snapshot))

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> Iterator[Record | Snapshot | int]:
    """The changes of a file, in order, the versions of compactions, and backups that were put back. A torn last line is
    cut off."""
    if not path.exists():
        return
    good = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            fields = msgspec.json.decode(line)
            good += len(line)
            if "compacted" in fields:
                yield fields["compacted"]
                continue
            if "restored" in fields:
                yield msgspec.json.decode(line, type=_Restored).restored
                continue
            yield Record(tuple(fields["kind"]), fields["type"], fields["object"])
    if good < path.stat().st_size:
        with path.open("rb+") as file:
            file.truncate(good)
