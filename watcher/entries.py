"""The entries that a leader watches: those of the manifests, which may be replaced while it leads.

What is not changed is not touched. What is changed is read to its end first, and its new version begins where that was,
as after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from kubecdc.concurrency import run_until_first
from kubecdc.current import Current
from kubecdc.watcher.capture.memory import LEAST_BYTES, Memory
from kubecdc.watcher.manifest import Entries, Entry, entry_of
from kubecdc.watcher.namespaces.entry import watch_entry
from kubecdc.watcher.namespaces.watches import EntryWatches
from kubecdc.watcher.recovery import Recovery
from kubecdc.watcher.session import Session

log = structlog.get_logger()
REMOVED = "no manifest has the entry of this checkpoint, so its changes are not captured now"


class EntriesOfLeader:
    """They share ``memory``, in bytes."""

    def __init__(self, session: Session, entries: Current[Entries], memory: int) -> None:
        self._session = session
        self._entries = entries
        self._bytes = memory
        self._watched: dict[str, Memory] = {}

    async def watch(self) -> None:
        """Watch until cancelled. Raises Refused, LeadershipLost (in groups)."""
        async with asyncio.TaskGroup() as tasks:
            wanted = self._entries.value
            without = partial(self._report_removed, lambda name: name not in wanted)
            tasks.create_task(Recovery(self._session, "removed entries").until_done(without))
            while True:
                for name in wanted.keys() - self._watched.keys():
                    self._watched[name] = Memory()
                    tasks.create_task(self._keep(name, self._watched[name]))
                self._share_memory()
                await self._entries.after(wanted)
                wanted = self._entries.value

    def _share_memory(self) -> None:
        for memory in self._watched.values():
            memory.limit = max(LEAST_BYTES, self._bytes // len(self._watched))

    async def _keep(self, name: str, memory: Memory) -> None:
        """Watch an entry while the manifests have it, each version of it from where the one before has ended."""
        while (entry := self._entries.value.get(name)) is not None:
            source, event_name = name.split("/")
            watches = EntryWatches(self._session, source, event_name, entry, memory)
            await run_until_first(watch_entry(watches), self._entries.until(partial(_differs, name, entry)))
            await watches.read_on()
            if name not in self._entries.value:
                watches.forget()
                await Recovery(self._session, name).until_done(partial(self._report_removed, lambda key: key == name))
        del self._watched[name]
        self._share_memory()

    async def _report_removed(self, concerns: Callable[[str], bool]) -> None:
        """Name the checkpoints of entries that no manifest has any more. They stay where they are, so nothing is
        dropped: if the entry comes back, its watch goes on from there, or repairs a gap."""
        for checkpoint in await self._session.bus.checkpoints.checkpoints():
            if checkpoint.state and concerns(entry_of(checkpoint.key)):
                log.warning(
                    REMOVED,
                    code="entry-removed",
                    watch=checkpoint.key,
                    position=checkpoint.state.position,
                    hint="they are captured once an entry has that name again; "
                    f"`kubecdc checkpoint reset {checkpoint.key}` gives them up",
                )


def _differs(name: str, entry: Entry, entries: Entries) -> bool:
    return entries.get(name) != entry
