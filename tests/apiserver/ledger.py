"""The ledger: every committed change, in order. What a test holds against what its client received."""

from __future__ import annotations

import msgspec

from tests.apiserver.changes import Change


class Entry(msgspec.Struct, frozen=True):
    """One change. ``type`` is ADDED, MODIFIED or DELETED; labels are those of the state that the line carries;
    ``timeline`` counts how often a backup was put back, or the cluster replaced, before it."""

    rv: str
    type: str
    group: str
    resource: str
    namespace: str
    name: str
    uid: str
    labels: dict[str, str]
    generation: int
    deleting: bool
    timeline: int = 0


class Ledger:
    """Grows by one entry with each change; survives a kill with the data file."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.timeline = 0

    def add(self, change: Change) -> None:
        kind, now = change.kind, change.current
        self.entries.append(
            Entry(
                str(change.version),
                change.type,
                kind.group,
                kind.plural,
                now.namespace,
                now.name,
                now.uid,
                now.labels,
                now.generation,
                now.deleting,
                self.timeline,
            )
        )

    def since(self, version: int = 0, resource: str = "") -> list[Entry]:
        """The entries after a version (on whichever timeline), of a plural or of all."""
        return [e for e in self.entries if int(e.rv) > version and resource in {"", e.resource}]
