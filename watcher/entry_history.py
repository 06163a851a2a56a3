"""What belongs to an entry as a whole, whatever namespaces it is watched in: its first start, and its timelines.

It is kept in the bus and outlives the checkpoints: a namespace may leave and come back, and the manifest may name
others.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec

from kubecdc.storage.contracts import Checkpoint, CheckpointStore, EntryState, Term


class EntryHistory:
    """The history of the entry ``name`` (``<source>/<event name>``), read and written under one term.

    A timeline is given to a watch that has never had it, nor had any of that namespace before: an id that was announced
    once does not come again. All methods raise LeadershipLost and Unavailable.
    """

    def __init__(self, checkpoints: CheckpointStore, term: Term, name: str) -> None:
        self._checkpoints = checkpoints
        self._term = term
        self._name = name
        self._state: EntryState | None = None
        self._lock = asyncio.Lock()

    async def begin(self) -> EntryState:
        """The state as it is; a new one if the entry starts for the first time."""
        async with self._lock:
            return await self._read()

    async def next_timeline(self, after: int | None = None) -> int:
        """A timeline later than ``after``; by default, later than all before."""
        async with self._lock:
            state = await self._read()
            timeline = max(state.timeline, (state.timeline if after is None else after) + 1)
            if timeline > state.timeline:
                await self._write(msgspec.structs.replace(state, timeline=timeline))
            return timeline

    async def _read(self) -> EntryState:
        if self._state is None:
            self._state = await self._checkpoints.entry(self._name)
        return self._state or await self._write(await self._first())

    async def _first(self) -> EntryState:
        """Made of the checkpoints, if an earlier version of kubecdc has left some: it kept all of it there."""
        found = [c for c in await self._checkpoints.checkpoints() if c.number and self._has(c)]
        states = [c.state for c in found if c.state]
        started = [state.started for state in states] or [datetime.now(UTC).isoformat()]
        timeline = max((state.timeline for state in states), default=0)
        # What that version has left is gone without a trace, and may come back: under the next timeline.
        return EntryState(started=min(started, key=datetime.fromisoformat), timeline=timeline + bool(found))

    async def _write(self, state: EntryState) -> EntryState:
        await self._checkpoints.save_entry(self._name, state, term=self._term)
        self._state = state
        return state

    def _has(self, checkpoint: Checkpoint) -> bool:
        return checkpoint.key == self._name or checkpoint.key.startswith(f"{self._name}/")
