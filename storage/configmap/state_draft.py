"""Changes of the state before they are written."""

from __future__ import annotations

from kubecdc.counts import counted
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.configmap.config_map import alternatives
from kubecdc.storage.configmap.state_document import Content, Name, Stored
from kubecdc.storage.contracts import StateChange, StateEntry
from kubecdc.storage.contracts.errors import StateConflict


class StateDraft:
    """The values that have not expired at ``now`` (seconds since 1970), and the changes made to them here.

    Each change is checked against those before it, and returns the error for its caller, or None if it is made.
    """

    def __init__(self, content: Content, *, now: float, limit: int) -> None:
        self.values = {name: stored for name, stored in content.values.items() if stored.expires > now}
        self.size = sum(stored.size for stored in self.values.values())
        self.effects = 0  # changes that were made; the others had been made before, or are refused
        self._now = now
        self._limit = limit

    def put(self, name: Name, change: StateChange) -> KubecdcError | None:
        """Put a value."""
        current = self.values.get(name)
        version = current.entry.version if current else ""
        if version == change.token:
            return None
        if version != change.follows:
            return StateConflict.of(*name)
        new = Stored.of(name, StateEntry(change.value, change.token), self._now + change.ttl.total_seconds())
        grows = new.size - (current.size if current else 0)
        if grows > 0 and self.size + grows > self._limit:
            values = counted(len(self.values), "value")
            return Unavailable(
                f"the ConfigMap of the state is full: it has {values} in {self.size >> 10} KiB, and may have "
                f"{self._limit >> 10} KiB",
                hint=f"keep the `checkpoint` of the EventBus in {alternatives()}; values are dropped as they expire",
            )
        self.values[name] = new
        self.size += grows
        self.effects += 1
        return None

    def delete(self, name: Name, version: str) -> KubecdcError | None:
        """Delete a value."""
        current = self.values.get(name)
        if current is None:
            return None
        if current.entry.version != version:
            return StateConflict.of(*name)
        del self.values[name]
        self.size -= current.size
        self.effects += 1
        return None
